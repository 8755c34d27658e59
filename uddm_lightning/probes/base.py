"""The contract of a probe: when to measure, on which rows, with which weights.

Shapes: B rows, L positions.
"""

import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream, integers
from uddm_lightning.metrics import functional as F
from uddm_lightning.metrics.rowwise import RowwiseMetric
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers import Observer
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.task import DiffusionTask, Weights
from uddm_lightning.training.trainer_access import data_of

Board = dict[Any, Any]  # what probes found on the batch at hand, for the callbacks after them


class MeasuredBatch(NamedTuple):
    """One batch under one kind of weights.

    Attributes:
        task: the model's process, objective and sampler.
        denoiser: predictions of the weights under measurement.
        batch: rows, without fillers; a rank without any row measures one filler.
        counted_BL: positions that count: neither padding nor special (unless these are included).
        split: "train", "test", "samples" or "random".
        weights: which weights `denoiser` holds.
        board: notes on this batch that probes leave for the callbacks after them.
        population: rows of the split, all of which may be measured; None where what is measured is a sample.
    """

    task: DiffusionTask
    denoiser: Denoiser
    batch: TokenBatch
    counted_BL: Tensor
    split: str
    weights: Weights
    board: Board
    population: int | None = None

    @property
    def draws(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Rows, documents and places of the batch, as the metrics take them."""
        return self.batch.rows_B, self.batch.documents_B, self.batch.places_B


class Probe(Callback):
    """Measures the model during validation and test, and never changes it.

    The base class runs the loop: it hands every batch to `measure` once for each kind of weights, limits the number of
    draws, and turns the metrics into tidy records when the loop is over. Everything random is keyed by the rows, so a
    probe cannot disturb training, and repeats itself on a checkpoint.

    Args:
        weights: which weights to measure: the moving average ("ema"), the trained weights themselves ("raw"), or both.
        num_rows: rows to draw from each split; None takes all that the data module offers. Unless the probe says
            otherwise, `uddm test` takes every held-out row all the same.
        num_rows_during_training: the same for validations before the last training step, which only show the trend; 0
            leaves them out.
        enabled: false switches the probe off.
    """

    kind: ClassVar[str]  # in the table, and the name of its options
    splits: ClassVar[tuple[str, ...]] = ("train", "test")  # that it measures
    every_test_row: ClassVar[bool] = True  # in `uddm test`, whatever `num_rows` says

    def __init__(
        self,
        weights: Sequence[Weights] = ("ema",),
        num_rows: int | None = None,
        num_rows_during_training: int | None = None,
        enabled: bool = True,
    ) -> None:
        if not weights:
            raise ValueError(f"`{self.kind}.weights` must name ema, raw or both, got {list(weights)}.")
        for name, value, smallest in (
            ("num_rows", num_rows, 1),
            ("num_rows_during_training", num_rows_during_training, 0),
        ):
            if value is not None and value < smallest:
                raise ValueError(f"`{self.kind}.{name}` must be at least {smallest}, got {value}.")
        self.weights = tuple(dict.fromkeys(weights))
        self.num_rows = num_rows
        self.num_rows_during_training = num_rows_during_training
        self.enabled = enabled
        self.records: list[Record] = []
        self.seconds = 0.0
        self._metrics: dict[tuple[Any, ...], Metric] = {}
        self._denoisers: dict[Weights, Denoiser] = {}
        self._limit: int | None = None
        self._testing = False
        self._fewer = False  # whether this validation is one on the way that measures fewer draws

    def load(self) -> None:
        """Fetches and loads, before a run begins, what measuring will need; called where the probe is enabled or not.

        Raises:
            InputError: it cannot be had.
        """

    @abstractmethod
    def measure(self, at: MeasuredBatch) -> None:
        """Runs the network on one batch and updates the metrics."""

    @abstractmethod
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        """Records of one validation: fields of the table, and behind an underscore what only figures need."""

    def takes_all(self, split: str) -> bool:
        """Whether no limit holds: in `uddm test`, for held-out rows."""
        return self._testing and split == "test" and self.every_test_row

    def metric(self, at: MeasuredBatch, make: type[Metric], *key: Any, **arguments: Any) -> Any:
        """The metric of the batch's split and weights under `key`, made on first use."""
        place = (at.split, at.weights, *key)
        if place not in self._metrics:
            self._metrics[place] = metric = make(**arguments).to(at.task.device)
            if isinstance(metric, RowwiseMetric):
                metric.population = at.population
        return self._metrics[place]

    def observer(self, at: MeasuredBatch) -> Observer | None:
        """What looks on while the model draws the samples of a batch; None where only the samples matter."""
        return None

    def count_mask(self, batch: TokenBatch) -> Tensor:
        """Positions that count, bool (B, L)."""
        counted_BL = torch.ones_like(batch.tokens_BL, dtype=torch.bool)
        if batch.valid_BL is not None:
            counted_BL &= batch.valid_BL
        if batch.special_BL is not None and not getattr(self, "include_special", False):
            counted_BL &= ~batch.special_BL
        return counted_BL

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = _task(pl_module)
        self.records, self.seconds, self._metrics = [], 0.0, {}
        if not self.enabled or trainer.sanity_checking:
            return
        started = time.monotonic()
        self._testing = trainer.state.fn == TrainerFn.TESTING
        on_the_way = not self._testing and not task.at_its_end
        on_the_way &= task.parameter_count > 0  # what nobody trains is as good as it will be
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
        kept_B = batch.rows_B >= 0
        if self._limit is not None and not self.takes_all(split):
            kept_B &= batch.places_B < self._limit
        boards: Board = outputs
        if batch_idx == 0 and not bool(kept_B.any()):
            # there are fewer draws than ranks, and this one has none: measuring a filler makes the metrics with which
            # it joins those of the others; nobody reads its board
            kept_B[0], boards = True, {}
            batch = batch._replace(rows_B=torch.full_like(batch.rows_B, -1))
        task = _task(pl_module)
        population = data_of(trainer).subset_size if split == "train" else None
        batch = select(batch, kept_B)
        if len(batch.rows_B):
            for weights, denoiser in self._denoisers.items():
                board = boards.setdefault(weights, {})
                at = MeasuredBatch(task, denoiser, batch, self.count_mask(batch), split, weights, board, population)
                self.measure(at._replace(batch=drawn(at, self.observer(at))) if split == "samples" else at)
        self.seconds += time.monotonic() - started

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._denoisers:
            return
        started = time.monotonic()
        self.records = list(self.compute_records(_task(pl_module)))
        self._metrics, self._denoisers = {}, {}
        self.seconds += time.monotonic() - started

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def select(batch: TokenBatch, kept_B: Tensor) -> TokenBatch:
    """The rows of a batch where `kept_B` is true."""
    if bool(kept_B.all()):
        return batch
    fields: list[Any] = [value[kept_B] if isinstance(value, Tensor) else value for value in batch]
    return TokenBatch(*fields)


def drawn(at: MeasuredBatch, observe: Observer | None = None) -> TokenBatch:
    """The batch with rows that the model has drawn from the pure noise there, by the task's chain from t = 1.

    They are drawn once for all probes, unless a later one wants more of them, or to look on.
    """
    batch = at.batch
    if observe is not None or len(at.board.get("samples", ())) < len(batch.tokens_BL):
        at.board["samples"] = at.task.sampler.sample(at.denoiser, batch.tokens_BL, batch.keys_B, observe)
        at.board.update(sampler=at.task.sampler.name, sampler_steps=at.task.sampler.steps)
    # a probe with a limit takes the first draws of a batch
    return batch._replace(tokens_BL=at.board["samples"][: len(batch.tokens_BL)])


class Margins(NamedTuple):
    """How firmly the clean tokens of a batch stand.

    Attributes:
        margin_BL: classification margins, in nats.
        asked_BL: bool, the counted tokens whose margin means something: all, or, where a process must hide a token to
            be asked about it, a random one of each row.
    """

    margin_BL: Tensor
    asked_BL: Tensor


def margins(at: MeasuredBatch) -> Margins:
    """Margins of the rows themselves, at the end of training's range of t, where nothing is extrapolated."""
    x0_BL, process = at.batch.tokens_BL, at.task.process
    t_B = torch.full((len(x0_BL),), at.task.objective.t_min, dtype=torch.float64, device=x0_BL.device)
    shown_BL = process.mask_position(x0_BL, one_position(at.batch, at.counted_BL))
    margin_BL = at.denoiser(_margin, shown_BL, t_B, at.batch.valid_BL, x0_BL)[0]
    return Margins(margin_BL, at.counted_BL & process.prediction_mask(shown_BL))


def _margin(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor) -> tuple[Tensor]:
    return (F.margin(logits_CV, x0_C),)


def one_position(batch: TokenBatch, counted_BL: Tensor) -> Tensor:
    """A random position of each row that counts, int64 (B,), by the row's key; 0 where none does."""
    positions = torch.arange(counted_BL.shape[1], device=counted_BL.device)
    order_BL = integers(2**31, batch.keys_B[:, None], Stream.PROBE, positions)
    return order_BL.where(counted_BL, order_BL.new_tensor(-1)).argmax(1)


def check_times(times: Sequence[float], key: str) -> tuple[float, ...]:
    """Times of a measurement, sorted, without repetition.

    Raises:
        ValueError: there is none, or one lies outside (0, 1].
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
