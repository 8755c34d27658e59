"""The likelihood bound on training and test rows."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.metrics import Nelbo
from uddm_lightning.probes.base import MeasuredBatch, Probe
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of

GOLDEN_RATIO = 0.6180339887498949


class NelboProbe(Probe):
    """Monte-Carlo NELBO in nats per token on a stated range of t.

    By default the range is that of training. Outside of it a network extrapolates: where a wider range is asked for,
    its NELBO stands beside that of the trained one, as rows of the kind "nelbo_extrapolated". What nobody trained (an
    oracle) extrapolates nowhere.

    Times follow the golden-ratio sequence over (draw, time) pairs, so that any number of draws covers the range evenly.

    Args:
        t_min: smallest time, in (0, t_max); None is that of training.
        t_max: largest time, in (t_min, 1]; None is that of training.
        times_per_row: times at which each drawn row is evaluated.
        weights: see `Probe`.
        num_rows: see `Probe`.
        num_rows_during_training: see `Probe`.
        enabled: see `Probe`.
    """

    kind = "nelbo"

    def __init__(
        self,
        t_min: float | None = None,
        t_max: float | None = None,
        times_per_row: int = 4,
        weights: Sequence[Literal["ema", "raw"]] = ("ema",),
        num_rows: int | None = None,
        num_rows_during_training: int | None = None,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, num_rows, num_rows_during_training, enabled)
        for name, value in (("t_min", t_min), ("t_max", t_max)):
            if value is not None and not 0.0 < value <= 1.0:
                raise ValueError(f"`nelbo.{name}` must be in (0, 1], got {value}.")
        if times_per_row < 1:
            raise ValueError(f"`nelbo.times_per_row` must be at least 1, got {times_per_row}.")
        self.t_min = t_min
        self.t_max = t_max
        self.times_per_row = times_per_row

    def ranges(self, task: DiffusionTask) -> dict[str, tuple[float, float]]:
        """The ranges of t to measure on, by kind.

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
        return {"nelbo": trained, "nelbo_extrapolated": (low, high)}

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
            return (process.nelbo(logits_CV.log_softmax(1), x0_C, xt_C, alpha_C, slope_C),)

        for kind, (low, high) in self.ranges(at.task).items():
            metric = self.metric(at, Nelbo, kind)
            for index in progress(range(self.times_per_row), f"NELBO, {at.split}"):
                number_B = batch.places_B * self.times_per_row + index
                t_B = low + (high - low) * ((0.5 + GOLDEN_RATIO * number_B.double()) % 1.0)
                noised = process.corrupt(x0_BL, t_B, batch.keys_B, batch.valid_BL)
                alpha_BL = noised.alpha_B[:, None].expand_as(x0_BL)
                slope_BL = noised.slope_B[:, None].expand_as(x0_BL)
                loss_BL = at.denoiser(loss, noised.xt_BL, t_B, batch.valid_BL, x0_BL, alpha_BL, slope_BL)[0]
                metric.update(loss_BL, valid_BL, *at.draws)

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        ranges, level = self.ranges(task), data_of(task.trainer).unigram_entropy
        for (split, weights, kind), metric in self._metrics.items():
            result = metric.compute()._asdict()
            draws = result.pop("draws")
            low, high = ranges[kind]
            about = {"metric": kind, "split": split, "weights": weights, "t_min": low, "t_max": high}
            yield {**about, **result, "pool_unigram_entropy": level, "_draws": draws}
