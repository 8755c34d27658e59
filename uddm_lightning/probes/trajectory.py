"""Trajectories: how doubt fades along the chain that draws the model's own samples."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.metrics import TrajectoryPoint
from uddm_lightning.metrics import functional as F
from uddm_lightning.probes.base import MeasuredBatch, Probe
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers import Observer, Sampler
from uddm_lightning.training.task import DiffusionTask


class TrajectoryProbe(Probe):
    """Entropy, variance and the largest probabilities of the predictions on the way from pure noise to a sample.

    The chain is the one that draws the rows of the split "samples"; this probe looks on and leaves the samples to the
    probes after it. Only at the recorded times is the network asked once more, about every token. Means are per token:
    every counted token of every row weighs the same.

    The last of the recorded times is the last of the grid, close to 0. Times below the objective's t_min, which stands
    in the table beside them, are extrapolation.

    Args:
        num_points: number of recorded times, evenly over the sampler's grid with both its ends; a grid that has
            fewer is recorded whole.
        include_special: count begin, end and separator positions too, as the paper does.
        weights: see `Probe`.
        num_rows: see `Probe`.
        num_rows_during_training: see `Probe`.
        enabled: see `Probe`.
    """

    kind = "trajectory"
    splits = ("samples",)

    def __init__(
        self,
        num_points: int = 21,
        include_special: bool = False,
        weights: Sequence[Literal["ema", "raw"]] = ("ema",),
        num_rows: int | None = None,
        num_rows_during_training: int | None = 0,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, num_rows, num_rows_during_training, enabled)
        if num_points < 2:
            raise ValueError(f"`trajectory.num_points` must be at least 2, got {num_points}.")
        self.num_points = num_points
        self.include_special = include_special

    def times(self, sampler: Sampler) -> list[float]:
        """The recorded times, from 1 down."""
        grid = sampler.grid(1.0)[:-1]
        count = min(self.num_points, len(grid))
        return [grid[round(number * (len(grid) - 1) / max(1, count - 1))] for number in range(count)]

    @override
    def observer(self, at: MeasuredBatch) -> Observer:
        recorded = set(self.times(at.task.sampler))

        def observe(t: float, x_BL: Tensor, numbers_B: Tensor) -> None:
            if t in recorded:
                t_B = torch.full((len(x_BL),), t, dtype=torch.float64, device=x_BL.device)
                valid_BL = None if at.batch.valid_BL is None else at.batch.valid_BL[numbers_B]
                spread = F.PredictionSpread(*at.denoiser(_spread, x_BL, t_B, valid_BL))
                metric = self.metric(at, TrajectoryPoint, t, vocab_size=at.task.process.vocab_size)
                counted_BL = at.counted_BL[numbers_B] & at.task.process.prediction_mask(x_BL)
                metric.update(spread, counted_BL, at.batch.rows_B[numbers_B])

        return observe

    @override
    def measure(self, at: MeasuredBatch) -> None:
        """Nothing is left to do: the observer has seen the samples being drawn."""

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        for (split, weights, t), metric in self._metrics.items():
            yield {
                "split": split,
                "weights": weights,
                "t": round(t, 12),  # the grid is made by additions
                "sampler": task.sampler.name,
                "sampler_steps": task.sampler.steps,
                "t_min": task.objective.t_min,
                **metric.compute()._asdict(),
            }


def _spread(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor, ...]:
    return F.spread(logits_CV)
