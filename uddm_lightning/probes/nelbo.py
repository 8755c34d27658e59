"""The negative evidence lower bound (NELBO) on training and test rows."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.errors import InputError, check_at_least, check_within
from uddm_lightning.core.progress import progress
from uddm_lightning.metrics import Nelbo, NelboDifference
from uddm_lightning.probes.base import History, Probe
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.probes.summary import cell
from uddm_lightning.results.declarations import Column, Scalar, corruption_time, leading, nats
from uddm_lightning.results.falling import falling
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.exact import exact_denoiser
from uddm_lightning.training.task import DiffusionTask, Weights
from uddm_lightning.training.trainer_access import data_of

GOLDEN_RATIO = 0.6180339887498949
EXTRAPOLATED = "nelbo_extrapolated"
MEMORIZED = "memorized"  # key of the metric of NELBO differences
COLUMNS = (
    *leading(
        nats(
            "nelbo", "Monte-Carlo negative evidence lower bound, integrated over t from t_min to t_max", -math.inf, True
        ),
        corruption_time("t_min", "smallest t of the range"),
        corruption_time("t_max", "largest t of the range"),
        nats(
            "pool_unigram_entropy",
            "entropy of the token frequencies of the pool, which a model without context reaches",
        ),
        Column("nelbo_falling", "true or false", "NELBO still fell over the last three validations; empty if unclear"),
    ),
    Column("weight_norm", "norm", "Euclidean norm of all trainable weights that were measured", 0.0),
    Column(
        "epochs",
        "passes",
        "passes over the training rows: optimizer steps x batch size of the config / train_size",
        0.0,
    ),
    Column("raw_bits", "bits per row", "length of a row as raw text, its tokens times log2 of the number of ids", 0.0),
    Column(
        "memorized_bits",
        "bits per row",
        "NELBO of the exact model of the text minus that of this model, on the same noise from t_min to t_max",
        interval=True,
    ),
    Column(
        "excess_nelbo",
        "nats per token",
        "NELBO minus that of the exact model of the text, on the same noise; 0 on test rows if the text is learned",
        interval=True,
    ),
)


class NelboProbe(Probe):
    """Measures the Monte-Carlo NELBO in nats per token on a range of t.

    The default is the range of training. Outside of it a network extrapolates: the NELBO of a wider range stands beside
    that of the trained range, with the metric "nelbo_extrapolated". A backbone without parameters does not extrapolate.

    Times follow the golden-ratio sequence over (draw, time) pairs, so that any number of draws covers the range evenly.

    Where the distribution of the text is known (`MarkovSource`), the exact model is evaluated on the same noisy rows.
    The difference of the two NELBOs on training rows is the number of bits that the model has memorized of them. The
    NELBO bounds the negative log-likelihood of the model from above, so the model may have memorized more. The
    difference covers the measured range of t only: train from `objective.t_min` = 0.001 for (nearly) all of it. On test
    rows it is at most 0, up to noise: it is minus the excess loss of the model. Source: Morris et al. 2025, arXiv
    2505.24832 ("unintended memorization" of autoregressive models).

    Args:
        t_min: smallest time, in (0, t_max); None is that of training.
        t_max: largest time, in (t_min, 1]; None is that of training.
        times_per_row: times at which each drawn row is evaluated.
        kwargs: arguments of `Probe`.
    """

    kind = "nelbo"
    title = "Negative evidence lower bound"
    reading = (
        "Compare NELBOs on the same range of t only. A model that has learned lies below pool_unigram_entropy on test "
        "rows. A large difference between test and train rows means memorization. The metric nelbo_extrapolated covers "
        "a range beyond that of training. memorized_bits is known for text of a known distribution only; on test rows "
        "it is at most 0, up to noise."
    )
    columns = COLUMNS
    extra_metrics = (EXTRAPOLATED,)
    scalars = (Scalar("nelbo", "{metric}/{split}/[{t_min:g},{t_max:g}]"),)

    def __init__(
        self,
        t_min: float | None = None,
        t_max: float | None = None,
        times_per_row: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_within("(0, 1]", "nelbo.", t_min=t_min, t_max=t_max)
        check_at_least(1, "nelbo.", times_per_row=times_per_row)
        self.t_min = t_min
        self.t_max = t_max
        self.times_per_row = times_per_row
        self._exact: Denoiser | None = None  # of the text, if its distribution is known

    def ranges(self, task: DiffusionTask) -> dict[str, tuple[float, float]]:
        """Return the ranges of t to measure on, by metric.

        Raises:
            InputError: the requested range is empty.
        """
        trained = task.objective.t_min, task.objective.t_max
        low = trained[0] if self.t_min is None else self.t_min
        high = trained[1] if self.t_max is None else self.t_max
        if not low < high:
            raise InputError(
                f"`nelbo.t_min` and `nelbo.t_max` must satisfy t_min < t_max, got {low} and {high}; "
                f"a missing end is that of training, {trained[0]} to {trained[1]}."
            )
        inside = trained[0] <= low and high <= trained[1]
        if inside or not task.parameter_count:
            return {"nelbo": (low, high)}
        return {"nelbo": trained, EXTRAPOLATED: (low, high)}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.enabled and isinstance(pl_module, DiffusionTask):
            self.ranges(pl_module)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        if self._denoisers and isinstance(pl_module, DiffusionTask):
            self._exact = exact_denoiser(pl_module)

    on_test_start = on_validation_start

    @override
    def measure(self, at: MeasuredBatch) -> None:
        for kind, (low, high) in self.ranges(at.task).items():
            metric = self.metric(at, Nelbo, kind)
            for index in progress(range(self.times_per_row), f"NELBO, {at.split}"):
                metric.update(self._losses(at, low + (high - low) * self._quantiles(at, index))[0], _valid(at), at.ids)
        if self._exact is None:
            return
        low, high = self.ranges(at.task)[self.kind]
        metric = self.metric(at, NelboDifference, MEMORIZED)
        for index in progress(range(self.times_per_row), f"memorized bits, {at.split}"):
            # The loss at t has a variance of about 1 / t. With t uniform in ln t, that of the weighted loss is bounded.
            t_B = low * (high / low) ** self._quantiles(at, index)
            own_BL, exact_BL = self._losses(at, t_B, self._exact)
            metric.update((exact_BL - own_BL) * (t_B * math.log(high / low))[:, None], _valid(at), at.ids)

    def _quantiles(self, at: MeasuredBatch, index: int) -> Tensor:
        """Return the place of one time of each row in its range, float64 (B,) in [0, 1)."""
        number_B = at.batch.places_B * self.times_per_row + index
        return (0.5 + GOLDEN_RATIO * number_B.double()) % 1.0

    def _losses(self, at: MeasuredBatch, t_B: Tensor, *others: Denoiser) -> list[Tensor]:
        """Return the losses (B, L) of the model, and of other denoisers on the same noisy rows."""
        process, batch, x0_BL = at.task.process, at.batch, at.batch.tokens_BL

        def loss(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor, alpha_C: Tensor, slope_C: Tensor) -> tuple[Tensor]:
            return (process.nelbo(logits_CV.log_softmax(1), NoisyTokens(x0_C, xt_C, alpha_C, slope_C)),)

        noised = process.corrupt(x0_BL, t_B, batch.keys_B, batch.valid_BL)
        alpha_BL, slope_BL = (one_B[:, None].expand_as(x0_BL) for one_B in (noised.alpha_B, noised.slope_B))
        return [
            denoiser(loss, noised.xt_BL, t_B, batch.valid_BL, x0_BL, alpha_BL, slope_BL)[0]
            for denoiser in (at.denoiser, *others)
        ]

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        ranges, data = self.ranges(task), data_of(task.trainer)
        for (split, weights, kind), metric in self.collected.items():
            if kind == MEMORIZED:
                continue
            result = metric.compute()._asdict()
            draws = result.pop("draws")
            low, high = ranges[kind]
            about = {"metric": kind, "split": split, "weights": weights, "t_min": low, "t_max": high}
            if kind == self.kind:
                tokens = float(draws["count"].mean()) if len(draws["count"]) else math.nan
                about |= {"_draws": draws, "raw_bits": tokens * math.log2(data.vocab_size)}
                about |= self._memorized(split, weights, tokens, high - low) | self._training(task, weights)
            yield {**about, **result, "pool_unigram_entropy": data.unigram_entropy}

    def _memorized(self, split: str, weights: str, tokens: float, span: float) -> Record:
        """Return the memorized bits of a row and the excess NELBO of a token; empty without an exact model.

        Args:
            split: of the rows.
            weights: that were measured.
            tokens: tokens of a row.
            span: t_max - t_min; the NELBO is the mean over this range, the bits are the integral.
        """
        if (metric := self.collected.get((split, weights, MEMORIZED))) is None:
            return {}
        found = metric.compute()
        values = zip(("", "_low", "_high"), (found.nelbo, found.nelbo_low, found.nelbo_high), strict=True)
        return {
            **{f"memorized_bits{end}": value * tokens / math.log(2) for end, value in values},
            "excess_nelbo": -found.nelbo / span,
            "excess_nelbo_low": -found.nelbo_high / span,
            "excess_nelbo_high": -found.nelbo_low / span,
        }

    def _training(self, task: DiffusionTask, weights: Weights) -> Record:
        """Return how far the weights were trained; nothing for a backbone without parameters."""
        if not task.parameter_count:
            return {}
        backbone, data = task.ema.backbone if weights == "ema" else task.backbone, data_of(task.trainer)
        trained = {name for name, weight in task.backbone.named_parameters() if weight.requires_grad}
        squares = [one.double().square().sum() for name, one in backbone.named_parameters() if name in trained]
        epochs = task.weights_step * data.batch_size / data.subset_size
        return {"weight_norm": float(torch.stack(squares).sum().sqrt()), "epochs": epochs}

    @override
    def complete(self, records: Sequence[Record], history: History) -> None:
        for record in records:
            if record["metric"] == self.kind:
                record["nelbo_falling"] = falling(history(self.kind, record["weights"]), record["split"])

    @override
    def record_keys(self, task: DiffusionTask) -> Iterable[Record]:
        ranges = self.ranges(task)
        return [{"metric": kind, "t_min": low, "t_max": high} for kind, (low, high) in ranges.items()]

    @override
    def summary_lines(self, records: Sequence[Record]) -> list[str]:
        lines = []
        for kind in (self.kind, EXTRAPOLATED):
            mine = [record for record in records if record["metric"] == kind]
            for first in mine[:1]:
                values = ", ".join(f"{record['split']} {cell(record['nelbo'])}" for record in mine)
                span = f"[{first['t_min']:g}, {first['t_max']:g}]"
                note = " (extrapolated: wider than the range of training)" if kind == EXTRAPOLATED else ""
                level = f"; unigram entropy of the pool {cell(first.get('pool_unigram_entropy'))}"
                lines.append(f"   NELBO on {span}{note}, nats per token: {values}{level}")
            if any(record["split"] == "test" and record.get("nelbo_falling") for record in mine):
                lines.append("   the NELBO of test rows was still falling over the last three validations")
        return lines


def _valid(at: MeasuredBatch) -> Tensor:
    return torch.ones_like(at.counted_BL) if at.batch.valid_BL is None else at.batch.valid_BL
