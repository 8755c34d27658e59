"""What a run would download and need, and what speaks against starting it on this machine."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import check_divides
from uddm_lightning.data.corpus import cache_folder
from uddm_lightning.preflight import needs
from uddm_lightning.preflight.hub import Found, Hub, downloads_of, survey
from uddm_lightning.runs.instantiate import build_data, check_critic
from uddm_lightning.training.trainer_access import check_precision

CHECKPOINTS = 2  # that a run keeps: the last one, and the one before it


def requirements(config: dict[str, Any], hub: Hub | None = None) -> "Requirements":
    """Return the requirements of a run with a resolved configuration. Nothing is downloaded or written.

    Args:
        config: the resolved configuration.
        hub: whom to ask for files; None is the Hugging Face hub.
    """
    found = [survey(one, hub or HfApi()) for one in dict.fromkeys(downloads_of(config["data"]))]
    report = Requirements(config, found)
    report.download()
    report.data()
    report.network()
    report.machine()
    report.disk()
    return report


class Requirements:
    """The lines of the table, and what speaks against the run."""

    def __init__(self, config: dict[str, Any], found: list[Found]) -> None:
        self.config = config
        self.found = found
        self.lines: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.vocab = needs.vocab_size(config["data"]["tokenizer"], found)
        self.length = int(config["data"]["packing"]["init_args"]["length"])
        self.writes: list[tuple[Path, int]] = [(Path(HF_HUB_CACHE), sum(one.left for one in found))]

    def add(self, name: str, value: str) -> None:
        """Add a line to the table."""
        self.lines.append((name, value))

    def download(self) -> None:
        """Add the files that would be downloaded."""
        for one in self.found:
            what = f"{one.download.repo} at {one.download.revision}: "
            if one.files is None:
                size = "size unknown" if one.size is None else f"about {_bytes(one.size)}, as stated here"
                what += f"{size} (the hub was not reached: {one.unreached})"
            elif one.files:
                what += f"{one.files} file(s), {_bytes(one.size or 0)}"
            else:
                wanted = ", ".join(one.download.patterns)
                what += "no such files"
                self.problems.append(f"`{one.download.repo}` on the hub has no file that fits {wanted}.")
            here = f"{_bytes(one.cached)} in the cache" if one.cached else "nothing in the cache"
            self.add("download", f"{what}; {here}")
        if not self.found:
            self.add("download", "nothing")
            self._read_a_document()

    def data(self) -> None:
        """Add the rows of the pool and of the subset."""
        text = sum(one.stated.text for one in self.found if one.stated)
        rows = needs.pool_rows(self.config, text)
        self.add("pool", f"about {_count(rows)} rows" if rows else "known when the text has been read")
        if rows:
            # `datasets` keeps a copy of the text that can be read at random
            self.writes += [
                (Path(HF_HUB_CACHE), text if any(one.left for one in self.found) else 0),
                (cache_folder(self.config["data"]["cache_dir"]), rows * needs.row_bytes(self.length, self.vocab or 0)),
            ]
        size = self.config["data"]["train_size"]
        if rows and isinstance(size, float):
            self.add("subset", f"about {_count(max(1, math.floor(size * rows)))} rows ({size:g} of the pool)")
        else:
            self.add("subset", f"{size} rows" if isinstance(size, int) else f"{size:g} of the pool")

    def network(self) -> None:
        """Add the vocabulary, the parameters and the memory."""
        if self.vocab is None:
            self.add("vocabulary", "known when the text has been read, and with it the number of parameters")
            return
        self.add("vocabulary", f"{self.vocab:,} ids")
        parameters = needs.parameters(self.config["model"]["backbone"], self.vocab)
        states = needs.optimizer_states(self.config["model"]["optimizer"])
        copies = 3 + states  # weights, gradient, moving average
        self.add("parameters", f"{parameters:,}")
        self.add(
            "memory",
            f"{_bytes(copies * needs.FLOAT * parameters)} a process for weights, gradients, moving average and "
            f"{states} number(s) a parameter of the optimizer; activations come on top",
        )
        checkpoint = (2 + states) * needs.FLOAT * parameters
        self.writes.append((Path(self.config["out"] or "runs"), CHECKPOINTS * checkpoint))

    def machine(self) -> None:
        """Add batches, steps, devices and the precision."""
        trainer, batch = self.config["trainer"], self.config["data"]["batch_size"]
        shared, steps = needs.processes(trainer), trainer["max_steps"]
        accumulation = trainer["accumulate_grad_batches"]
        try:
            check_divides(batch, shared.world, accumulation)
            rows = batch // (shared.world * accumulation)
            share = f"{shared.world} process(es) x {accumulation} micro-batch(es) of {rows}"
        except InputError as error:
            share = f"does NOT divide among {shared.world} process(es) x {accumulation} micro-batch(es)"
            self.problems.append(str(error))
        self.add("step", f"{batch} rows of {self.length}, {batch * self.length:,} tokens; {share}")
        if steps > 0:
            self.add("training", f"{steps:,} steps, {_count(steps * batch * self.length)} tokens")
        gpus = torch.cuda.device_count()
        self.add("devices", f"{shared.here} {'GPU' if shared.on_gpu else 'CPU'} process(es) a node; {gpus} GPU(s) here")
        if shared.on_gpu and gpus < shared.here:
            self.problems.append(
                f"`trainer.accelerator: {trainer['accelerator']}` with {shared.here} device(s), and there are {gpus} "
                "GPU(s) here; start it where they are, or set `trainer.devices`."
            )
        self.add("precision", _precision(str(trainer["precision"] or "32-true"), shared.on_gpu and gpus > 0))
        self._refused(check_precision, trainer["precision"], not shared.on_gpu and not torch.accelerator.is_available())
        self._refused(check_critic, self.config, False)

    def disk(self) -> None:
        """Add the free and the needed bytes of each disk."""
        for folder, needed, free in needs.disks(self.writes):
            self.add("disk", f"{_bytes(needed)} needed, {_bytes(free)} free at {folder}")
            if needed > free:
                self.problems.append(
                    f"The disk of `{folder}` has {_bytes(free)} free, and about {_bytes(needed)} will be written; free "
                    "some space, or set $HF_HOME and $UDDM_CACHE to a larger disk."
                )

    def _read_a_document(self) -> None:
        self._refused(lambda: next(build_data(self.config).source.documents(), None))

    def _refused(self, check: Callable[..., object], *arguments: object) -> None:
        """Takes down what speaks against the run, by one of the checks that it makes at its start."""
        try:
            check(*arguments)
        except InputError as error:
            self.problems.append(str(error))


def _precision(name: str, on_gpu: bool) -> str:
    if "16" not in name:
        return name
    if not on_gpu and name.startswith("bf16"):
        return f"{name}, slow on a CPU"
    if not on_gpu:
        return f"{name} is NOT available on a CPU" if name == "16-mixed" else f"{name}, slow on a CPU"
    if name.startswith("bf16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        return f"{name}, which this GPU only emulates"
    return f"{name}, available"


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.3g} {unit}"


def _count(number: int) -> str:
    for unit, size in (("10^9", 1e9), ("10^6", 1e6)):
        if number >= size:
            return f"{number / size:.3g} x {unit}"
    return f"{number:,}"
