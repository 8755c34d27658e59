"""Requirements of a run, and the problems that keep it from starting on this machine."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE

from uddm_lightning.config.trainer_section import check_precision
from uddm_lightning.core.cache import cache_folder
from uddm_lightning.core.errors import InputError
from uddm_lightning.data.micro_batches import check_batch_size
from uddm_lightning.preflight import needs
from uddm_lightning.preflight.hub import DownloadSize, Hub, downloads_of, measure_download
from uddm_lightning.runs.instantiate import build_data, check_critic

CHECKPOINTS = 2  # a run keeps the last checkpoint and the one before it


def requirements(config: dict[str, Any], hub: Hub | None = None) -> "Requirements":
    """Return the requirements of a run with a resolved configuration. Nothing is downloaded or written.

    Args:
        config: the resolved configuration.
        hub: interface to the hub; None uses the Hugging Face hub.
    """
    declared = dict.fromkeys(downloads_of(config["data"]))
    report = Requirements(config, [measure_download(download, hub or HfApi()) for download in declared])
    report.download()
    report.data()
    report.network()
    report.machine()
    report.disk()
    return report


class Requirements:
    """Table of the requirements of a run, and its problems.

    Args:
        config: the resolved configuration.
        downloads: downloads of the run.

    Attributes:
        lines: names and values of the table.
        problems: one message for each reason why the run cannot start here.
    """

    def __init__(self, config: dict[str, Any], downloads: list[DownloadSize]) -> None:
        self.config = config
        self.downloads = downloads
        self.lines: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.vocab_size = needs.vocab_size(config["data"]["tokenizer"], downloads)
        self.length = int(config["data"]["packing"]["init_args"]["length"])
        self.writes: list[tuple[Path, int]] = [(Path(HF_HUB_CACHE), sum(one.remaining for one in downloads))]
        self.pool_rows: int | None = None  # None before the text is read

    def add(self, name: str, value: str) -> None:
        """Add a line to the table."""
        self.lines.append((name, value))

    def download(self) -> None:
        """Add the files that the run downloads. Read the first document if there are none."""
        for download in self.downloads:
            repo, revision, patterns = download.download.repo, download.download.revision, download.download.patterns
            if download.num_files is None:
                size = "size unknown" if download.size is None else f"about {_format_bytes(download.size)}"
                files = f"{size} (the hub did not answer: {download.error})"
            elif download.num_files:
                files = f"{download.num_files} file(s), {_format_bytes(download.size or 0)}"
            else:
                files = "no matching files"
                self.problems.append(f"`{repo}` on the hub has no file that matches {', '.join(patterns)}.")
            cached = f"{_format_bytes(download.cached)} in the cache" if download.cached else "nothing in the cache"
            self.add("download", f"{repo} at {revision}: {files}; {cached}")
        if not self.downloads:
            self.add("download", "nothing")
            self._require(lambda: next(build_data(self.config).source.documents(), None))

    def data(self) -> None:
        """Add the rows of the pool and of the subset."""
        text_bytes = sum(download.known.text_bytes for download in self.downloads if download.known)
        rows = needs.estimate_pool_rows(self.config, text_bytes)
        self.add("pool", f"about {_format_count(rows)} rows" if rows else "known after the text is read")
        if rows:
            self.pool_rows = rows
            # `datasets` writes a copy of the text for random access
            copied = text_bytes if any(download.remaining for download in self.downloads) else 0
            prepared = rows * needs.bytes_per_row(self.length, self.vocab_size or 0)
            self.writes += [(Path(HF_HUB_CACHE), copied), (cache_folder(self.config["data"]["cache_dir"]), prepared)]
        size = self.config["data"]["train_size"]
        if rows and isinstance(size, float):
            self.add("subset", f"about {_format_count(max(1, math.floor(size * rows)))} rows ({size:g} of the pool)")
        else:
            self.add("subset", f"{size} rows" if isinstance(size, int) else f"{size:g} of the pool")

    def network(self) -> None:
        """Add the vocabulary, the parameters and the memory."""
        if self.vocab_size is None:
            self.add("vocabulary", "known after the text is read, as is the number of parameters")
            return
        self.add("vocabulary", f"{self.vocab_size:,} ids")
        parameters = needs.num_parameters(self.config["model"]["backbone"], self.vocab_size)
        states = needs.states_per_parameter(self.config["model"]["optimizer"])
        copies = 3 + states  # weights, gradient, moving average
        self.add("parameters", f"{parameters:,}")
        self.add(
            "memory",
            f"{_format_bytes(copies * needs.FLOAT_BYTES * parameters)} per process for weights, gradients, moving "
            f"average and {states} optimizer value(s) per parameter; activations are not included",
        )
        checkpoint = (2 + states) * needs.FLOAT_BYTES * parameters
        kept = needs.kept_checkpoints(self.config["trainer"]["callbacks"]) * 2 * needs.FLOAT_BYTES * parameters
        self.writes.append((Path(self.config["out"] or "runs"), CHECKPOINTS * checkpoint + kept))

    def machine(self) -> None:
        """Add batches, steps, devices and the precision."""
        trainer, batch = self.config["trainer"], self.config["data"]["batch_size"]
        processes, steps = needs.processes(trainer), trainer["max_steps"]
        accumulation = trainer["accumulate_grad_batches"]
        try:
            check_batch_size(batch, processes.world_size, accumulation)
            rows = batch // (processes.world_size * accumulation)
            split = f"{processes.world_size} process(es) x {accumulation} micro-batch(es) of {rows}"
        except InputError as error:
            split = f"NOT divisible by {processes.world_size} process(es) x {accumulation} micro-batch(es)"
            self.problems.append(str(error))
        self.add("step", f"{batch} rows of {self.length}, {batch * self.length:,} tokens; {split}")
        if steps > 0:
            self.add("training", f"{steps:,} steps, {_format_count(steps * batch * self.length)} tokens")
        gpus = torch.cuda.device_count()
        kind = "GPU" if processes.on_gpu else "CPU"
        self.add("devices", f"{processes.per_node} {kind} process(es) per node; this machine has {gpus} GPU(s)")
        if processes.on_gpu and gpus < processes.per_node:
            self.problems.append(
                f"`trainer.accelerator: {trainer['accelerator']}` asks for {processes.per_node} device(s), but this "
                f"machine has {gpus} GPU(s); use a machine with enough GPUs, or set `trainer.devices`."
            )
        self.add("precision", _precision(str(trainer["precision"] or "32-true"), processes.on_gpu and gpus > 0))
        on_cpu = not processes.on_gpu and not torch.accelerator.is_available()
        self._require(check_precision, trainer["precision"], on_cpu)
        self._require(check_critic, self.config, False)

    def add_model(self, name: str, config: dict[str, Any]) -> None:
        """Add a line on another model that is trained on the same data, and what keeps it from starting.

        Args:
            name: of the model.
            config: its resolved configuration.
        """
        other = Requirements(config, self.downloads)
        other.network()
        other.machine()
        lines = dict(other.lines)
        self.add("model", ", ".join([name, *(f"{lines[key]} {key}" for key in ("parameters",) if key in lines)]))
        self.problems += [problem for problem in other.problems if problem not in self.problems]

    def disk(self) -> None:
        """Add the needed and the free bytes of each file system."""
        for folder, needed, free in needs.disk_usage(self.writes):
            self.add("disk", f"{_format_bytes(needed)} needed, {_format_bytes(free)} free at {folder}")
            if needed > free:
                self.problems.append(
                    f"The disk of `{folder}` has {_format_bytes(free)} free, but the run writes about "
                    f"{_format_bytes(needed)}; free some space, or set $HF_HOME and $UDDM_CACHE to a larger disk."
                )

    def _require(self, check: Callable[..., object], *arguments: object) -> None:
        """Add the error of a check, if any, to the problems."""
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


def _format_bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.3g} {unit}"


def _format_count(number: int) -> str:
    for unit, size in (("10^9", 1e9), ("10^6", 1e6)):
        if number >= size:
            return f"{number / size:.3g} x {unit}"
    return f"{number:,}"
