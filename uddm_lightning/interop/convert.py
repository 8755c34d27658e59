"""Import a model of another program as a run: a checkpoint in Duo's layout, or a folder in the hub's layout."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import yaml
from lightning import __version__ as lightning_version

from uddm_lightning.cli.resolve import Resolved, resolve
from uddm_lightning.config.config_files import find_config_options
from uddm_lightning.config.yaml_text import to_yaml
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.interop.duo import DuoCheckpoint
from uddm_lightning.interop.exported_model import ExportedModel, is_exported
from uddm_lightning.interop.foreign import ForeignConfig, ForeignModel
from uddm_lightning.interop.gidd import GiddModel, is_gidd
from uddm_lightning.interop.hub_folder import HubFolder
from uddm_lightning.interop.hub_model import HubModel
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.instantiate import build_task
from uddm_lightning.runs.manifest import CONVERTED, TRAINED_STEPS, write_manifest

INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"  # marks hyperparameters that a command line has set


class Converted(NamedTuple):
    """A converted model.

    Attributes:
        layout: of the file or folder.
        vocab_size: V.
        parameters: number of trainable parameters.
        step: number of optimizer steps of the weights; None if it is not known.
        ema_decay: of the averaged weights; 0 if the file has none, None if it has one set of weights only.
        assumed: keys that the file lacks and that have their usual value.
        left_out: entries of the file that were not used.
        notes: sentences about what was found and assumed.
    """

    layout: str

    vocab_size: int
    parameters: int
    step: int | None
    ema_decay: float | None
    assumed: list[str]
    left_out: list[str]
    notes: list[str]


def convert(
    path: Path,
    folder: Path,
    configs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    origin: Mapping[str, Any] | None = None,
) -> Converted:
    """Write a run with the weights, the settings and the tokenizer of a model of another program.

    Args:
        path: a checkpoint in Duo's layout, or a folder in the hub's layout. Nothing in it is executed.
        folder: of the new run.
        configs: YAML files that override the settings of the model.
        overrides: other arguments of `uddm fit`.
        origin: repository and commit of a downloaded model, for the manifest.

    Raises:
        InputError: a file is missing, damaged or incomplete, or the folder holds a run.
    """
    if not path.exists():
        raise InputError(f"`{path}`: there is no such file or folder. Give a checkpoint, a folder, or OWNER/NAME.")
    if (path / "config.yaml").is_file() or any(path.glob("runs/*/config.yaml")):
        raise InputError(f"`{path}` is a run or a sweep of this package already; `uddm probe` takes a run as it is.")
    files = find_config_options([word for file in configs for word in ("-c", file)])
    foreign = read_foreign(path)
    with run_folder.lock_run(folder):
        run_folder.check_unused(folder, "")
        tokenizer = _write_tokenizer(foreign, folder)
        made = foreign.recipe(_data_section(files[1::2]), tokenizer)
        resolved = _resolve(made, [*files, *overrides, "--out", str(folder)])
        _check_length(foreign, resolved)
        task = build_task(resolved.values, foreign.vocab_size)
        shapes = {name: tuple(parameter.shape) for name, parameter in task.backbone.named_parameters()}
        if shapes != foreign.shapes:
            raise InputError(f"`--config` describes another network in `model.backbone` than `{path}` holds.")
        foreign.copy(foreign.raw, task.backbone)
        foreign.copy(foreign.averaged, task.ema.backbone)
        write_manifest(folder, _manifest(foreign, made, origin or {}))
        write_text(folder / "config.yaml", resolved.text)
        checkpoint = _checkpoint(foreign, resolved, task.state_dict())
        checkpoints.AtomicCheckpointIO().save_checkpoint(checkpoint, run_folder.checkpoint_path(folder, "last"))
    return Converted(
        foreign.layout,
        foreign.vocab_size,
        task.parameter_count,
        foreign.step,
        foreign.ema_decay,
        made.assumed,
        foreign.left_out,
        list(foreign.notes),
    )


def read_foreign(path: Path) -> ForeignModel:
    """Return the model of a file or folder.

    Raises:
        InputError: it is damaged, or of an unknown kind.
    """
    if not path.is_dir():
        return DuoCheckpoint(path)
    config = HubFolder(path).config
    kind = ExportedModel if is_exported(config) else GiddModel if is_gidd(config) else HubModel
    return kind(path)


def _data_section(files: Sequence[str]) -> dict[str, Any]:
    """Return the merged section `data` of YAML files; the parser checks it later."""
    found: dict[str, Any] = {}
    for file in files:
        path = Path(file)
        content = yaml.safe_load(path.read_text(encoding="utf-8") if path.is_file() else file)
        data = content.get("data") if isinstance(content, dict) else None
        if isinstance(data, str) and (part := path.parent / data).is_file():  # a section may be a file of its own
            find_config_options(["-c", str(part)])
            data = yaml.safe_load(part.read_text(encoding="utf-8"))
        found.update(data if isinstance(data, dict) else {})
    return found


def _resolve(made: ForeignConfig, overrides: list[str]) -> Resolved:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.yaml"
        write_text(path, to_yaml(made.config))
        return resolve(["-c", str(path), *overrides])


def _write_tokenizer(foreign: ForeignModel, folder: Path) -> Path | None:
    """Write the tokenizer of the checkpoint, if it has one, into the run's folder; return its absolute path."""
    if foreign.tokenizer is None:
        return None
    try:
        found = tokenizers.Tokenizer.from_str(foreign.tokenizer)
        size = max(found.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"`{foreign.path}` cannot be converted: its tokenizer is damaged ({error}).") from error
    if size > foreign.vocab_size:
        raise InputError(
            f"`{foreign.path}` cannot be converted: its tokenizer has {size} ids, its network {foreign.vocab_size}."
        )
    path = folder.absolute() / "tokenizer.json"
    write_text(path, foreign.tokenizer)
    return path


def _manifest(foreign: ForeignModel, made: ForeignConfig, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the origin of the run. Only the name of its training text is known."""
    converted = {
        "file": foreign.path.name,
        **origin,
        "sha256": foreign.sha256(),
        "layout": foreign.layout,
        "training_facts": foreign.training_facts,
        "assumed": made.assumed,
        "left_out": foreign.left_out,
        "notes": list(foreign.notes),
        "note": "The rows called train are of the text given here; whether the network has seen them is not known.",
    }
    return {CONVERTED: converted, **({} if foreign.step is None else {TRAINED_STEPS: foreign.step})}


def _check_length(foreign: ForeignModel, resolved: Resolved) -> None:
    longest, length = foreign.length, resolved.values["data"]["packing"]["init_args"]["length"]
    if longest is not None and length > longest:
        raise InputError(
            f"`data.packing.length` is {length}, and `{foreign.path}` was trained on rows of {longest}; give at most "
            "that."
        )


def _checkpoint(foreign: ForeignModel, resolved: Resolved, state: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint as `uddm fit` writes it."""
    values = resolved.values
    settings = {"seed": values["seed_everything"], "vocab_size": foreign.vocab_size, "_instantiator": INSTANTIATOR}
    return {
        "epoch": 0,
        "global_step": foreign.step or 0,
        "pytorch-lightning_version": lightning_version,
        "state_dict": state,
        "hparams_name": "kwargs",
        "hyper_parameters": {**values["model"], **settings},
    }
