"""The likelihood bound on training and test rows."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.callbacks.probe import MeasuredBatch, Probe, progress
from uddm_lightning.metrics import Nelbo
from uddm_lightning.tables import Record
from uddm_lightning.task import DiffusionTask

GOLDEN_RATIO = 0.6180339887498949


class NelboProbe(Probe):
    """Monte-Carlo NELBO in nats per token on a stated range of t.

    Times follow the golden-ratio sequence over (draw, time) pairs, so that any number of draws covers the range evenly.

    Args:
        t_min: smallest time, in (0, t_max).
        t_max: largest time, in (t_min, 1].
        times_per_draw: times at which each drawn row is evaluated.
        weights: see `Probe`.
        draws: see `Probe`.
        draws_on_the_way: see `Probe`.
        enabled: see `Probe`.
    """

    kind = "nelbo"

    def __init__(
        self,
        t_min: float = 1e-3,
        t_max: float = 1.0,
        times_per_draw: int = 4,
        weights: Sequence[Literal["ema", "raw"]] = ("ema",),
        draws: int | None = None,
        draws_on_the_way: int | None = None,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, draws, draws_on_the_way, enabled)
        if not 0.0 < t_min < t_max <= 1.0:
            raise ValueError(
                f"`nelbo.t_min` and `nelbo.t_max` must satisfy 0 < t_min < t_max <= 1, got {t_min} and {t_max}."
            )
        if times_per_draw < 1:
            raise ValueError(f"`nelbo.times_per_draw` must be at least 1, got {times_per_draw}.")
        self.t_min = t_min
        self.t_max = t_max
        self.times_per_draw = times_per_draw

    @override
    def measure(self, at: MeasuredBatch) -> None:
        process, batch = at.task.process, at.batch
        x0_BL = batch.tokens_BL
        valid_BL = torch.ones_like(at.counted_BL) if batch.valid_BL is None else batch.valid_BL
        metric = self.metric(at, Nelbo)

        def loss(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor, alpha_C: Tensor, slope_C: Tensor) -> tuple[Tensor]:
            return (process.nelbo(logits_CV.log_softmax(1), x0_C, xt_C, alpha_C, slope_C),)

        for index in progress(range(self.times_per_draw), f"NELBO, {at.split}"):
            number_B = batch.places_B * self.times_per_draw + index
            t_B = self.t_min + (self.t_max - self.t_min) * ((0.5 + GOLDEN_RATIO * number_B.double()) % 1.0)
            noised = process.corrupt(x0_BL, t_B, batch.keys_B, batch.valid_BL)
            alpha_BL = noised.alpha_B[:, None].expand_as(x0_BL)
            slope_BL = noised.slope_B[:, None].expand_as(x0_BL)
            loss_BL = at.denoiser(loss, noised.xt_BL, t_B, batch.valid_BL, x0_BL, alpha_BL, slope_BL)[0]
            metric.update(loss_BL, valid_BL, *at.draws)

    @override
    def conclude(self, task: DiffusionTask) -> Iterable[Record]:
        for (split, weights), metric in self._metrics.items():
            result = metric.compute()._asdict()
            draws = result.pop("draws")
            range_ = {"t_min": self.t_min, "t_max": self.t_max}
            yield {"split": split, "weights": weights, **range_, **result, "_draws": draws}
