"""Loggers: scalars under tidy names, charts by t, histograms, a figure and restored text."""

import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from uddm_lightning.callbacks import board
from uddm_lightning.callbacks.figures import pixels, sequence_panel, time_figure, write_picture
from uddm_lightning.callbacks.measurements import probes, run_folder
from uddm_lightning.callbacks.sequences import SequenceTable
from uddm_lightning.core.token_texts import readable
from uddm_lightning.results.charts import charts_by_time
from uddm_lightning.results.declarations import BEHIND, Scalar, logged_scalars, scalars_of
from uddm_lightning.results.reference import reference
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import callbacks_of, data_of, is_dry_run

PANEL_ROWS = 4
_TEXTS = ("x0_text", "xt_text", "xhat_text")
_TIMES = {
    "probe/seconds": "Seconds that the probes took at this validation.",
    "probe/share": "Share of the time since the previous validation that the probes took.",
}
_FIGURE = (
    "Token recovery and entropy against the corruption time t, with 95 % intervals over rows and noise: solid on train "
    "rows, dashed on test rows. Recovery on train rows far above test rows means memorizing."
)


class TensorBoardPage(Callback):
    """Logs the records of all probes. Runs after the probes and the `SequenceTable`.

    The probes declare the scalars (see report/GLOSSARY.md). In front stand the loss and, at the t nearest to 0.1, both
    recoveries, their gap, both entropies and the NELBO; the tags of all others begin with `zz_`. A callback monitors a
    scalar by its name without `zz_`. Raw weights add `_raw` to the first word of a name.

    `probe/seconds` is the time that measuring took, `probe/share` its share of the time since the previous validation.

    Every logger receives the scalars and the settings of the run. The figure goes to TensorBoard, to loggers that have
    `log_image` (Weights & Biases) or an experiment with `log_artifact` (MLflow), and to the folder of the run.
    TensorBoard also gets histograms, restored text and a page of charts by t.
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
        scalars = _logged(trainer)
        if seconds := sum(probe.seconds for probe in probes(trainer)):
            now = time.monotonic()
            times = {"probe/seconds": seconds, "probe/share": min(1.0, seconds / max(now - self._last, seconds))}
            pl_module.log_dict(times, logger=False)
            scalars |= {BEHIND + name: (value, _TIMES[name]) for name, value in times.items()}
            self._last = now
        # loggers get the optimizer step of the weights, not Lightning's batch count
        assert isinstance(pl_module, DiffusionTask)
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_metrics({tag: value for tag, (value, _) in scalars.items()}, step=pl_module.weights_step)
            elif trainer.is_global_zero:
                for tag, (value, meaning) in scalars.items():
                    board.add_scalar(logger.experiment, tag, value, meaning, pl_module.weights_step)

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
            path = run_folder(trainer) / "figures" / f"recovery-{weights}.png"
            write_picture(path, picture)
            _show(trainer, f"recovery/{weights}", picture, path, step)
        for writer in (logger.experiment for logger in _tensorboards(trainer)):
            if not self._laid_out:
                writer.add_custom_scalars(charts_by_time("By corruption time", _logged(trainer)))
                self._laid_out = True
            board.add_histograms(writer, records, step)
            for tag, text in _panels(trainer):
                writer.add_text(tag, text, step)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the settings of the run; in TensorBoard with the last scalars in front, as a row of HPARAMS."""
        assert isinstance(pl_module, DiffusionTask)
        if is_dry_run(trainer) or not trainer.is_global_zero:
            return
        data = data_of(trainer)
        about = {
            "train_size": data.subset_size,
            "seed": data.seed,
            "parameters": pl_module.parameter_count,
            "backbone": pl_module.backbone_name,
        }
        front = {tag: value for tag, (value, _) in _logged(trainer).items() if not tag.startswith(BEHIND)}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.hparams.update(about)
                board.add_settings(logger.experiment, about, front)
            else:
                logger.log_hyperparams(about)


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


def _logged(trainer: Trainer) -> dict[str, tuple[float, str]]:
    """Return the scalars of all probes and their descriptions, by tag."""
    found = {}
    for probe in probes(trainer):
        columns = {column.name: f"{probe.title}: {column.meaning} [{column.unit}]." for column in probe.columns}
        for tag, (value, column) in logged_scalars(probe.shown_scalars, probe.records).items():
            gap = "Value on train rows minus that on test rows. " if tag.removeprefix(BEHIND).startswith("gap/") else ""
            found[tag] = value, gap + columns.get(column, probe.title)
    return found


def _show(trainer: Trainer, tag: str, picture: npt.NDArray[np.uint8], path: Path, step: int) -> None:
    """Send a figure to the loggers that take one."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            board.add_image(logger.experiment, tag, picture, _FIGURE, step)
        elif hasattr(logger, "log_image"):
            logger.log_image(tag, [picture], step=step)
        elif (experiment := getattr(logger, "experiment", None)) is not None and hasattr(experiment, "log_artifact"):
            experiment.log_artifact(getattr(logger, "run_id", None), str(path), "figures")


def _panels(trainer: Trainer) -> Iterable[tuple[str, str]]:
    """Yield tags and panels of restored text, one for each split and t; train and test rows stand in front."""
    tables = [callback for callback in callbacks_of(trainer) if isinstance(callback, SequenceTable)]
    shown: dict[str, list[str]] = {}
    sequences = tables[0].sequences if tables else []
    words = readable({text for sequence in sequences for name in _TEXTS for text in sequence[name]})
    front = reference(sequence["t"] for sequence in sequences) if sequences else None
    for sequence in sequences:
        is_front = (
            sequence["t"] == front
            and sequence["split"] in ("train", "test")
            and sequence["weights"] == sequences[0]["weights"]
        )
        panels = shown.setdefault(("" if is_front else BEHIND) + Scalar("restored").name(sequence), [])
        if len(panels) < PANEL_ROWS:
            panels.append(sequence_panel(*([words[text] for text in sequence[name]] for name in _TEXTS)))
    legend = "marks: + recovered, x not recovered, ! broken"
    for tag, panels in shown.items():
        text = "\n\n".join([*panels, legend])
        yield tag, "\n".join(f"    {line}" for line in text.splitlines())  # four spaces: a code block in Markdown
