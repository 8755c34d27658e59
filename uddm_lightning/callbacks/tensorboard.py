"""TensorBoard: scalars under tidy names, curves side by side, histograms, a figure and restored text."""

import time
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from uddm_lightning.callbacks.figures import pixels, sequence_panel, time_figure, write_picture
from uddm_lightning.callbacks.measurements import probes, run_folder
from uddm_lightning.callbacks.sequences import SequenceTable
from uddm_lightning.probes.base import Histogram, Probe
from uddm_lightning.results.declarations import Scalar, scalars_of
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of, data_of, is_dry_run

PANEL_ROWS = 4


class TensorBoardPage(Callback):
    """Logs the records of all probes. Runs after the probes and the `SequenceTable`.

    The probes declare the scalars (see report/GLOSSARY.md). Raw weights add `_raw` to the first word of a tag.
    `probe/seconds` is the time that measuring took, `probe/share` its share of the time since the previous validation.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._laid_out = False

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last = time.monotonic()

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        scalars: dict[str, float] = {}
        for probe in probes(trainer):
            scalars.update(scalars_of(probe.shown_scalars, probe.records))
        if seconds := sum(probe.seconds for probe in probes(trainer)):
            now = time.monotonic()
            times = {"probe/seconds": seconds, "probe/share": min(1.0, seconds / max(now - self._last, seconds))}
            pl_module.log_dict(times, logger=False)
            scalars |= times
            self._last = now
        # loggers get the optimizer step of the weights, not Lightning's batch count
        assert isinstance(pl_module, DiffusionTask)
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step=pl_module.weights_step)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DiffusionTask)
        records = [record for probe in probes(trainer) for record in probe.records]
        # measuring a checkpoint again rewrites its rows and nothing else
        skip = trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or is_dry_run(trainer)
        if skip or not records or not trainer.is_global_zero:
            return
        step, size = pl_module.weights_step, data_of(trainer).subset_size
        title = f"{size} training rows, step {step}"
        for weights in dict.fromkeys(record["weights"] for record in records):
            measured = [record for record in records if record["weights"] == weights]
            curves = [(probe.time_curve, probe.kind) for probe in probes(trainer) if probe.time_curve]
            picture = pixels(time_figure(curves, measured, f"{title}, {weights} weights"))
            write_picture(run_folder(trainer) / "figures" / f"recovery-{weights}.png", picture)
            for logger in _tensorboards(trainer):
                logger.experiment.add_image(f"recovery/{weights}", picture, step, dataformats="HWC")
        for writer in (logger.experiment for logger in _tensorboards(trainer)):
            if not self._laid_out:
                writer.add_custom_scalars(_layout(trainer))
                self._laid_out = True
            _histograms(writer, records, step)
            for tag, text in _panels(trainer):
                writer.add_text(tag, text, step)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the HPARAMS row: the settings of the run and its last results."""
        assert isinstance(pl_module, DiffusionTask)
        if is_dry_run(trainer) or not trainer.is_global_zero:
            return
        records = [record for probe in probes(trainer) for record in probe.records]
        outcomes: dict[str, float] = {}
        for probe in probes(trainer) if records else ():
            outcomes |= _outcomes(probe, records[0]["weights"])
        data = data_of(trainer)
        about = {
            "train_size": data.subset_size,
            "seed": data.seed,
            "parameters": pl_module.parameter_count,
            "backbone": pl_module.backbone_name,
        }
        for logger in _tensorboards(trainer):
            logger.log_hyperparams(about, outcomes, pl_module.weights_step)


def names_of_scalars(trainer: Trainer, task: DiffusionTask, splits: Sequence[str]) -> set[str]:
    """Return the names of the scalars that every validation of a run logs, for callbacks that monitor one of them."""
    names = {"probe/seconds", "probe/share"}
    for probe in probes(trainer):
        if not probe.enabled or probe.num_rows_during_training == 0:
            continue
        shown = [scalar for scalar in probe.shown_scalars if scalar.monitored]
        records = [
            {**{scalar.column: 0.0 for scalar in shown}, **key, "split": split, "weights": weights}
            for key, split, weights in product(probe.record_keys(task), probe.splits, probe.weights)
            if split in splits
        ]
        names.update(scalars_of(shown, records))
    return names


def _tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _layout(trainer: Trainer) -> dict[str, dict[str, list[Any]]]:
    """Return a custom-scalars page with the splits of a value side by side, a chart for each t."""
    layout: dict[str, dict[str, list[Any]]] = {}
    for probe in probes(trainer):
        for record in probe.records if probe.time_curve else ():
            tag = probe.shown_scalars[0].name({**record, "split": "[a-z]+"})
            layout.setdefault(tag.partition("/")[0], {})[tag.rpartition("/")[2]] = ["Multiline", [f"^{tag}$"]]
    return layout


def _histograms(writer: SummaryWriter, records: Iterable[Record], step: int) -> None:
    for record in records:
        for tag, histogram in record.get("_histograms", {}).items():
            name = Scalar("", tag).name(record)
            if isinstance(histogram, Histogram):
                _add_histogram(writer, name, *histogram, step)
            else:
                writer.add_histogram(name, np.array(histogram, np.float32), step)


def _add_histogram(writer: SummaryWriter, tag: str, edges: Tensor, counts: Tensor, step: int) -> None:
    if not int(counts.sum()):
        return
    counts, edges = counts.double().cpu(), edges.double().cpu()
    centres = (edges[1:] + edges[:-1]) / 2
    filled = counts.nonzero()[:, 0]
    writer.add_histogram_raw(
        tag,
        min=float(edges[filled[0]]),
        max=float(edges[filled[-1] + 1]),
        num=int(counts.sum()),
        sum=float((counts * centres).sum()),
        sum_squares=float((counts * centres**2).sum()),
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )


def _panels(trainer: Trainer) -> Iterable[tuple[str, str]]:
    """Yield tags and panels of restored text, one for each split and t."""
    tables = [callback for callback in callbacks_of(trainer) if isinstance(callback, SequenceTable)]
    tokenizer = data_of(trainer).tokenizer
    shown: dict[str, list[str]] = {}
    for sequence in tables[0].sequences if tables else []:
        panels = shown.setdefault(Scalar("restored").name(sequence), [])
        if len(panels) < PANEL_ROWS:
            pieces = [[tokenizer.decode_token(token) for token in sequence[name]] for name in ("x0", "xt", "xhat")]
            panels.append(sequence_panel(*pieces))
    legend = "marks: + recovered, x not recovered, ! broken"
    for tag, panels in shown.items():
        text = "\n\n".join([*panels, legend])
        yield tag, "\n".join(f"    {line}" for line in text.splitlines())  # four spaces: a code block in Markdown


def _outcomes(probe: Probe, weights: str) -> dict[str, float]:
    """Return the metrics of a probe in the HPARAMS table, at the t nearest to the reference."""
    mine = [record for record in probe.records if record["weights"] == weights and record["metric"] == probe.kind]
    times = [record["t"] for record in mine if record.get("t") is not None]
    return {
        outcome.name.format_map(record): record[outcome.column]
        for outcome in probe.outcomes
        for record in mine
        if record["split"] in (outcome.splits or probe.splits) and (not times or record["t"] == reference(times))
    }
