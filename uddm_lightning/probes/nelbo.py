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
from uddm_lightning.metrics import Nelbo
from uddm_lightning.probes.base import History, Probe
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.probes.summary import cell
from uddm_lightning.results.declarations import Column, Scalar, corruption_time, leading, nats
from uddm_lightning.results.falling import falling
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of

GOLDEN_RATIO = 0.6180339887498949
EXTRAPOLATED = "nelbo_extrapolated"
COLUMNS = leading(
    nats("nelbo", "Monte-Carlo negative evidence lower bound, integrated over t from t_min to t_max", -math.inf, True),
    corruption_time("t_min", "smallest t of the range"),
    corruption_time("t_max", "largest t of the range"),
    nats("pool_unigram_entropy", "entropy of the token frequencies of the pool, which a model without context reaches"),
    Column("nelbo_falling", "true or false", "NELBO still fell over the last three validations; empty if unclear"),
)


class NelboProbe(Probe):
    """Measures the Monte-Carlo NELBO in nats per token on a range of t.

    The default is the range of training. Outside of it a network extrapolates: the NELBO of a wider range stands beside
    that of the trained range, with the metric "nelbo_extrapolated". A backbone without parameters does not extrapolate.

    Times follow the golden-ratio sequence over (draw, time) pairs, so that any number of draws covers the range evenly.

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
        "a range beyond that of training."
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

    def ranges(self, task: DiffusionTask) -> dict[str, tuple[float, float]]:
        """Return the ranges of t to measure on, by metric.

        Raises:
            InputError: the range that is asked for is empty.
        """
        trained = task.objective.t_min, task.objective.t_max
        low = trained[0] if self.t_min is None else self.t_min
        high = trained[1] if self.t_max is None else self.t_max
        if not low < high:
            raise InputError(
                f"`nelbo.t_min` and `nelbo.t_max` must satisfy t_min < t_max, got {low} and {high}; "
                f"what is not given is the range of training, {trained[0]} to {trained[1]}."
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
    def measure(self, at: MeasuredBatch) -> None:
        process, batch = at.task.process, at.batch
        x0_BL = batch.tokens_BL
        valid_BL = torch.ones_like(at.counted_BL) if batch.valid_BL is None else batch.valid_BL

        def loss(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor, alpha_C: Tensor, slope_C: Tensor) -> tuple[Tensor]:
            return (process.nelbo(logits_CV.log_softmax(1), NoisyTokens(x0_C, xt_C, alpha_C, slope_C)),)

        for kind, (low, high) in self.ranges(at.task).items():
            metric = self.metric(at, Nelbo, kind)
            for index in progress(range(self.times_per_row), f"NELBO, {at.split}"):
                number_B = batch.places_B * self.times_per_row + index
                t_B = low + (high - low) * ((0.5 + GOLDEN_RATIO * number_B.double()) % 1.0)
                noised = process.corrupt(x0_BL, t_B, batch.keys_B, batch.valid_BL)
                alpha_BL = noised.alpha_B[:, None].expand_as(x0_BL)
                slope_BL = noised.slope_B[:, None].expand_as(x0_BL)
                loss_BL = at.denoiser(loss, noised.xt_BL, t_B, batch.valid_BL, x0_BL, alpha_BL, slope_BL)[0]
                metric.update(loss_BL, valid_BL, at.ids)

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        ranges, level = self.ranges(task), data_of(task.trainer).unigram_entropy
        for (split, weights, kind), metric in self.collected.items():
            result = metric.compute()._asdict()
            draws = result.pop("draws")
            low, high = ranges[kind]
            about = {"metric": kind, "split": split, "weights": weights, "t_min": low, "t_max": high}
            own = {"_draws": draws} if kind == self.kind else {}
            yield {**about, **result, "pool_unigram_entropy": level, **own}

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
