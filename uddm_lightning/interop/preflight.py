"""What a probe of a deployed model takes, before its weights are read: memory, place, time and download."""

import math
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_OFFLINE

from uddm_lightning.core.errors import InputError, first_line
from uddm_lightning.core.progress import format_duration
from uddm_lightning.interop.convert import read_foreign
from uddm_lightning.interop.download import TIMEOUT, download, is_hub_name, wanted_files
from uddm_lightning.interop.gidd import is_gidd
from uddm_lightning.interop.hub_folder import CONFIG, HubFolder
from uddm_lightning.interop.pretrained import LARGEST_STEPS, plan_pretrained
from uddm_lightning.interop.pretrained_settings import ROW_LENGTH, PretrainedOptions, is_pretrained
from uddm_lightning.interop.probe_needs import (
    EVALUATIONS,
    SAMPLES,
    WORK_BYTES,
    ProbeNeeds,
    free_memory,
    main_device,
    measured_speed,
    place,
)

COPIES = 4  # of float32 weights while a model is converted: raw and averaged ones, in the network and in its checkpoint


class ProbePlan(NamedTuple):
    """What a probe takes.

    Attributes:
        lines: names and values of the table.
        problem: why it cannot run here; "" if it can.
    """

    lines: list[tuple[str, str]]
    problem: str


def plan_probe(model: str, revision: str | None, options: PretrainedOptions) -> ProbePlan:
    """Return what a probe of 256 own samples of a model takes. Its weights are neither read nor downloaded.

    Args:
        model: folder in the hub's layout, checkpoint in Duo's layout, or OWNER/NAME on the hub.
        revision: branch, tag or commit of OWNER/NAME.
        options: choices of the user.

    Raises:
        InputError: there is no such model, it is of an unknown kind, damaged, or a run of this package.
    """
    if is_hub_name(model):
        if not HF_HUB_OFFLINE:
            return _on_the_hub(model, revision, options)
        model = str(download(model, revision).folder)  # from the cache alone
    elif revision is not None:
        raise InputError(f"`--revision {revision}` is for OWNER/NAME on the hub; `{model}` is a path.")
    path = Path(model)
    if not path.exists():
        raise InputError(f"`{path}`: there is no such file or folder. Give a checkpoint, a folder, or OWNER/NAME.")
    if (path / "config.yaml").is_file() or path.suffix == ".yaml":
        config = path / "config.yaml" if path.is_dir() else path
        raise InputError(f"`{path}` is a config or a run of this package; give it as `uddm preflight -c {config}`.")
    if path.is_dir() and (path / CONFIG).is_file():
        folder = HubFolder(path)
        if is_gidd(folder.config) or is_pretrained(folder.config, options.trust_remote_code):
            plan = plan_pretrained(folder, options)
            files = f"{len(folder.files)} files, {plan.needs.weight_bytes / 1e9:,.1f} GB, {plan.stored}, read as stored"
            return _finished([("weights", files)], plan.needs, plan.length, plan.steps, plan.stored, options.device)
    return _converted(path, options)


def _converted(path: Path, options: PretrainedOptions) -> ProbePlan:
    """Return the needs of a model that is converted to a run in a temporary folder."""
    foreign = read_foreign(path)
    parameters = sum(math.prod(shape) for shape in foreign.shapes.values())
    length, steps = foreign.length or ROW_LENGTH, options.steps or LARGEST_STEPS
    needs = ProbeNeeds(
        parameters, parameters, COPIES * 4 * parameters, 2 * parameters * length, SAMPLES * (steps + EVALUATIONS)
    )
    size = sum(file.stat().st_size for file in foreign.files)
    how = f"{foreign.layout}, {size / 1e9:,.2f} GB; converted to a run in float32 in a temporary folder"
    disk = ("disk", f"{2 * 4 * parameters / 1e9:,.2f} GB while the command runs")
    return _finished([("weights", how), disk], needs, length, steps, "F32", options.device)


def _on_the_hub(name: str, revision: str | None, options: PretrainedOptions) -> ProbePlan:
    """Return the needs of a model by what the hub says of it. Nothing is downloaded."""
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except Exception as error:  # errors of network and hub share no base class
        raise InputError(
            f"`{name}` is no path, and the hub does not give a model of this name ({first_line(error)}). Check the "
            "name and the network, or give a folder."
        ) from error
    wanted = wanted_files(name, info, options.trust_remote_code)
    stated = dict(info.safetensors.parameters) if info.safetensors else {}
    if not stated:
        raise InputError(
            f"`{name}`: the hub does not state its number of parameters. Download it, then give the folder."
        )
    parameters, stored = sum(stated.values()), max(stated, key=lambda kind: stated[kind])
    size = sum(bytes_ for file, bytes_ in wanted.items() if file.endswith(".safetensors"))
    length, steps = options.length or ROW_LENGTH, options.steps or LARGEST_STEPS
    needs = ProbeNeeds(parameters, parameters, size, 2 * parameters * length, SAMPLES * (steps + EVALUATIONS))
    lines = [
        ("download", f"{len(wanted)} files, {sum(wanted.values()) / 1e9:,.2f} GB, commit {info.sha}"),
        ("weights", f"{size / 1e9:,.2f} GB, {stored}, if they are read as stored"),
    ]
    found = _finished(lines, needs, length, steps, stored, options.device)
    found.lines.append(("assumed", "the hub states neither rows nor experts nor steps: give the downloaded folder"))
    return found


def _finished(
    lines: list[tuple[str, str]], needs: ProbeNeeds, length: int, steps: int, stored: str, given: str | None
) -> ProbePlan:
    free, problem = free_memory(), ""
    try:
        device = place(needs, given, free)
    except InputError as error:
        device, problem = "cpu", str(error)
    speed = measured_speed(stored, device)
    operations = needs.row_operations * needs.evaluations
    share = "" if needs.active == needs.parameters else f", {needs.active / 1e9:,.2f} B for each token"
    memory = f"about {needs.memory / 1e9:,.1f} GB, of which {WORK_BYTES / 1e9:,.1f} GB are assumed for a batch"
    seconds = f"at least {format_duration(operations / speed)} at {speed:.1e} operations per second"
    table = [
        ("parameters", f"{needs.parameters / 1e9:,.4g} B{share}"),
        *lines,
        ("memory", memory),
        ("free here", ", ".join(f"{size / 1e9:,.1f} GB ({name})" for name, size in free.items())),
        ("device", "none" if problem else {"auto": "several devices"}.get(device, device)),
        ("rows", f"{SAMPLES} own samples of {length:,} tokens, drawn in at most {steps:,} steps"),
        ("evaluations", f"{needs.evaluations:,} of a row, {operations:.1e} floating-point operations"),
        ("time", f"{seconds}, measured on {main_device(device)}"),
    ]
    return ProbePlan(table, problem)
