"""The contract of a probe: when to measure, on which rows, with which weights.

Shapes: B rows, L positions.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError, check_at_least
from uddm_lightning.core.progress import announce
from uddm_lightning.metrics.rowwise import RowwiseMetric
from uddm_lightning.probes.measured_batch import MeasuredBatch, drawn, select
from uddm_lightning.probes.summary import SummaryColumn, cell
from uddm_lightning.results.declarations import (
    Column,
    Declaration,
    Declarations,
    Figure,
    Scalar,
    TimeCurve,
    scalars_of,
)
from uddm_lightning.results.tables import COMMON, Record
from uddm_lightning.samplers import Observer
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.task import DiffusionTask, Weights
from uddm_lightning.training.trainer_access import data_of


class Histogram(NamedTuple):
    """Counts of values for TensorBoard.

    Attributes:
        edges: of the bins, ascending (bins + 1,).
        counts: int64 (bins,).
    """

    edges: Tensor
    counts: Tensor


History = Callable[[str, str], pa.Table]  # from metric and weights to draws of earlier validations and this one


class Probe(Callback):
    """Measures the model during validation and test, and never changes it.

    The base class runs the loop: it passes every batch to `measure` once for each kind of weights, limits the number of
    draws, and converts the metrics to tidy records at the end of the loop. All random numbers are keyed by the rows.
    Therefore a probe does not disturb training, and a checkpoint gives the same numbers again.

    A subclass implements `measure` and `compute_records`, and declares its results as class attributes:

    * `kind`: its entry of the column `metric`, and the name of its options; `title`: its quantity in words; `reading`:
      how to read the numbers;
    * `columns`: all columns of its records other than the key and the counts of rows and draws; the first is its value;
    * `scalars`: of loggers; by default one, its value. `time_curve`: its panel in the picture that loggers show;
    * `summary_columns`: its columns of the terminal's table by t. Or override `summary_lines`, by default one
      line for its value;
    * `figure`: in the report.

    Args:
        weights: weights to measure: their moving average ("ema"), the trained weights themselves ("raw"), or both.
        num_rows: rows to draw from each split; None takes all that the data module offers. `uddm test` takes every
            held-out row, unless the probe's class says otherwise.
        num_rows_during_training: rows to draw before the last training step, to show the trend; 0 measures the last
            step only, None takes `num_rows`.
        enabled: false switches the probe off.

    Example:
        >>> from torchmetrics import MeanMetric
        >>> from uddm_lightning.results.declarations import Column
        >>> class PadProbe(Probe):
        ...     kind, title = "pad", "Padding"
        ...     columns = (Column("pad_share", "share", "padding among all positions", 0.0, 1.0),)
        ...     def measure(self, at):
        ...         self.metric(at, MeanMetric).update((~at.counted_BL).float())
        ...     def compute_records(self, task):
        ...         for (split, weights), metric in self.collected.items():
        ...             yield {"split": split, "weights": weights, "pad_share": float(metric.compute())}
        >>> PadProbe(num_rows=8).declaration().metrics
        ('pad',)
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    reading: ClassVar[str] = ""  # how to read the numbers, for the glossary
    extra_metrics: ClassVar[tuple[str, ...]] = ()  # further entries of the column `metric`
    scalars: ClassVar[tuple[Scalar, ...]] = ()
    time_curve: ClassVar[TimeCurve | None] = None
    summary_columns: ClassVar[tuple[SummaryColumn, ...]] = ()
    figure: ClassVar[Figure | None] = None
    splits: ClassVar[tuple[str, ...]] = ("train", "test")  # that it measures
    every_test_row: ClassVar[bool] = True  # in `uddm test`, for any `num_rows`

    def __init__(
        self,
        weights: Sequence[Weights] = ("ema",),
        num_rows: int | None = None,
        num_rows_during_training: int | None = None,
        enabled: bool = True,
    ) -> None:
        if not weights:
            raise ValueError(f"`{self.kind}.weights` must name ema, raw or both, got {list(weights)}.")
        check_at_least(1, f"{self.kind}.", num_rows=num_rows)
        check_at_least(0, f"{self.kind}.", num_rows_during_training=num_rows_during_training)
        self.weights = tuple(dict.fromkeys(weights))
        self.num_rows = num_rows
        self.num_rows_during_training = num_rows_during_training
        self.enabled = enabled
        self.records: list[Record] = []
        self.seconds = 0.0
        self.collected: dict[tuple[Any, ...], Metric] = {}  # metrics of this validation by split, weights and key
        self._denoisers: dict[Weights, Denoiser] = {}
        self._limit: int | None = None
        self._testing = False
        self._fewer = False  # whether this validation comes before the last step and measures fewer draws

    def load(self) -> None:
        """Load the files that measuring needs, before a run begins. It is called for disabled probes, too.

        Raises:
            InputError: a file is missing.
        """

    @abstractmethod
    def measure(self, at: MeasuredBatch) -> None:
        """Run the network on one batch and update the metrics."""

    @abstractmethod
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        """Return the records of one validation, one for each row of the table.

        A record holds `split`, `weights`, the declared columns and, where they apply, `t`, `sampler`, `sampler_steps`,
        `n_rows` and `n_draws`. Fields with a leading underscore do not enter the table: `_draws` (columns of
        rows.parquet), `_rows` (rows of basins.parquet) and `_histograms` (by TensorBoard tag).
        """

    def record_keys(self, task: DiffusionTask) -> Iterable[Record]:
        """Return the key fields that records have beside split and weights, one entry for each record of a split.

        They are known before the run, so that a callback can monitor a scalar by its name.
        """
        return [{"metric": self.kind}]

    def summary_lines(self, records: Sequence[Record]) -> list[str]:
        """Return lines for the terminal about records of one kind of weights, below the table by t."""
        if self.summary_columns or not records:
            return []
        name, lines = self.columns[0].name, []
        for t in dict.fromkeys(record.get("t") for record in records):
            values = [f"{r['split']} {cell(r.get(name))}" for r in records if r.get("t") == t]
            at = "" if t is None else f" at t = {t:g}"
            lines.append(f"   {self.title}{at}: {', '.join(values)}")
        return lines

    def complete(self, records: Sequence[Record], history: History) -> None:
        """Add fields to the records that depend on earlier validations of the run.

        Args:
            records: of this validation.
            history: returns the draws in rows.parquet of one metric and one kind of weights, up to this step.
        """

    @classmethod
    def metrics(cls) -> tuple[str, ...]:
        """Return the entries of the column `metric` that its records have."""
        return (cls.kind, *cls.extra_metrics)

    @classmethod
    def declaration(cls) -> Declaration:
        """Return the declaration that stands in columns.json."""
        return Declaration(cls.metrics(), cls.title, cls.columns, cls.figure)

    @property
    def shown_scalars(self) -> tuple[Scalar, ...]:
        """The scalars of TensorBoard."""
        return self.scalars or (Scalar(self.columns[0].name, skip_nan=True),)

    def takes_all(self, split: str) -> bool:
        """Whether no limit holds: in `uddm test`, for held-out rows."""
        return self._testing and split == "test" and self.every_test_row

    def metric(self, at: MeasuredBatch, make: type[Metric], *key: Any, **arguments: Any) -> Any:
        """Return the metric of the batch's split and weights under `key`; make it on first use."""
        place = (at.split, at.weights, *key)
        if place not in self.collected:
            self.collected[place] = metric = make(**arguments).to(at.task.device)
            if isinstance(metric, RowwiseMetric):
                metric.population = at.population
        return self.collected[place]

    def observer(self, at: MeasuredBatch) -> Observer | None:
        """Return a function to call before each step of the chain that draws samples; None if there is none."""
        return None

    def count_mask(self, batch: TokenBatch) -> Tensor:
        """Return the positions that count, bool (B, L)."""
        counted_BL = torch.ones_like(batch.tokens_BL, dtype=torch.bool)
        if batch.valid_BL is not None:
            counted_BL &= batch.valid_BL
        if batch.special_BL is not None and not getattr(self, "include_special", False):
            counted_BL &= ~batch.special_BL
        return counted_BL

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = _task(pl_module)
        self.records, self.seconds, self.collected = [], 0.0, {}
        if not self.enabled or trainer.sanity_checking:
            return
        started = time.monotonic()
        self._testing = trainer.state.fn == TrainerFn.TESTING
        on_the_way = not self._testing and not task.at_its_end
        on_the_way &= task.parameter_count > 0  # a backbone without parameters does not change during training
        self._fewer = on_the_way and self.num_rows_during_training is not None
        self._limit = self.num_rows_during_training if self._fewer else self.num_rows
        if self._limit == 0:
            return
        self._denoisers = {weights: task.denoiser(weights) for weights in self.weights}
        self.seconds += time.monotonic() - started

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: TokenBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        split = data_of(trainer).splits[dataloader_idx]
        if not self._denoisers or split not in self.splits:
            return
        started = time.monotonic()
        number = (trainer.num_test_batches if self._testing else trainer.num_val_batches)[dataloader_idx]
        announce(f"{self.kind}, {split} rows, batch {batch_idx + 1} of {number}")
        task = _task(pl_module)
        notes = task.notes
        kept_B = batch.rows_B >= 0
        if self._limit is not None and not self.takes_all(split):
            kept_B &= batch.places_B < self._limit
        if batch_idx == 0 and not bool(kept_B.any()):
            # There are fewer draws than ranks, and this rank has none. It measures a filler row to create the metrics
            # that it joins with those of the other ranks. Nothing reads the notes on a filler.
            kept_B[0], notes = True, {"ema": BatchNotes(), "raw": BatchNotes()}
            batch = batch._replace(rows_B=torch.full_like(batch.rows_B, -1))
        population = data_of(trainer).subset_size if split == "train" else None
        batch = select(batch, kept_B)
        if len(batch.rows_B):
            for weights, denoiser in self._denoisers.items():
                counted_BL = self.count_mask(batch)
                at = MeasuredBatch(task, denoiser, batch, counted_BL, split, weights, notes[weights], population)
                self.measure(at._replace(batch=drawn(at, self.observer(at))) if split == "samples" else at)
        self.seconds += time.monotonic() - started

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._denoisers:
            return
        started = time.monotonic()
        self.records = [self._checked(record) for record in self.compute_records(_task(pl_module))]
        # on every rank, for `trainer.callback_metrics` and callbacks that monitor a value
        pl_module.log_dict(scalars_of(self.shown_scalars, self.records), logger=False)
        self.collected, self._denoisers = {}, {}
        self.seconds += time.monotonic() - started

    def _checked(self, record: Record) -> Record:
        """Add the metric to a record, whose fields must be declared."""
        record = {"metric": self.kind, **record}
        known = {*COMMON, *Declarations([self.declaration()]).columns}
        undeclared = [name for name in record if name not in known and not name.startswith("_")]
        if undeclared:
            raise InputError(
                f"`{type(self).__name__}` records the field `{undeclared[0]}`, which it does not declare: add a "
                "`Column` to its `columns`."
            )
        return record

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def check_times(times: Sequence[float], key: str) -> tuple[float, ...]:
    """Return the times of a measurement, sorted and without repetition.

    Raises:
        ValueError: `times` is empty, or a time is outside (0, 1].
    """
    if not times:
        raise ValueError(f"`{key}` must name at least one time, got {list(times)}.")
    for t in times:
        if not 0.0 < t <= 1.0:
            raise ValueError(f"`{key}` must lie in (0, 1], got {t}.")
    return tuple(sorted(set(times)))


def _task(pl_module: LightningModule) -> DiffusionTask:
    if not isinstance(pl_module, DiffusionTask):
        raise InputError(f"Probes measure a `DiffusionTask`, got `{type(pl_module).__name__}`.")
    return pl_module
