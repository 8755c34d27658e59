"""Predictions along the chain that draws the model's own samples."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.metrics import RowIds, TrajectoryPoint
from uddm_lightning.metrics import functional as F
from uddm_lightning.probes.base import Probe
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.results.declarations import Column, Scalar, corruption_time, nats
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers import Observer, Sampler
from uddm_lightning.training.task import DiffusionTask

COLUMNS = (
    nats("entropy", "mean entropy of the predictions p at this t of the chain", interval=True),
    corruption_time("t_min", "smallest t of training; below it the network extrapolates"),
    Column("variance", "1", "mean of sum_v p_v (1 - p_v)", 0.0, 1.0),
    Column("variance_norm", "1", "mean of sqrt(sum_v (p_v (1 - p_v))^2)", 0.0, 0.5),
    Column("top2_gap", "probability", "mean of the largest minus the second largest probability", 0.0, 1.0),
    Column("top_probability", "probability", "mean of the largest probability", 0.0, 1.0),
)


class TrajectoryProbe(Probe):
    """Measures entropy, variance and the largest probabilities of the predictions from pure noise to a sample.

    It observes the chain that draws the rows of the split "samples"; later probes use the same samples. At the recorded
    times it runs the network once more on every token. Means are per token: all counted tokens have the same weight.

    The last recorded time is the last point of the grid, close to 0. Times below the objective's t_min, which is a
    column of the table, are extrapolation.

    Args:
        num_points: number of recorded times, evenly over the sampler's grid with both its ends; all times of a grid
            that has fewer.
        include_special: count begin, end and separator positions too, as the paper does.
        num_rows_during_training: see `Probe`; by default trajectories are measured at the last step only.
        kwargs: arguments of `Probe`.
    """

    kind = "trajectory"
    title = "Predictions along the sampling chain"
    reading = "The entropy falls and the largest probability rises from t = 1 to t = 0, as the sample takes shape."
    columns = COLUMNS
    scalars = tuple(
        Scalar(name, f"trajectory/{name}/t={{t:g}}", nearest_t=0.5, front=()) for name in F.PredictionSpread._fields
    )
    splits = ("samples",)

    def __init__(
        self,
        num_points: int = 21,
        include_special: bool = False,
        num_rows_during_training: int | None = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows_during_training=num_rows_during_training, **kwargs)
        check_at_least(2, "trajectory.", num_points=num_points)
        self.num_points = num_points
        self.include_special = include_special

    def times(self, sampler: Sampler) -> list[float]:
        """Return the recorded times, descending from 1."""
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
                spread = F.PredictionSpread(*at.denoiser(lambda logits_CV, _: F.spread(logits_CV), x_BL, t_B, valid_BL))
                metric = self.metric(at, TrajectoryPoint, t, vocab_size=at.task.process.vocab_size)
                counted_BL = at.counted_BL[numbers_B] & at.task.process.prediction_mask(x_BL)
                metric.update(spread, counted_BL, RowIds(at.batch.rows_B[numbers_B]))

        return observe

    @override
    def measure(self, at: MeasuredBatch) -> None:
        """Do nothing: the observer has measured the chain."""

    @override
    def record_keys(self, task: DiffusionTask) -> Iterable[Record]:
        return [{"metric": self.kind, "t": round(t, 12)} for t in self.times(task.sampler)]

    @override
    def summary_lines(self, records: Sequence[Record]) -> list[str]:
        return []  # too many numbers for a terminal

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        chain = {"sampler": task.sampler.name, "sampler_steps": task.sampler.steps, "t_min": task.objective.t_min}
        for (split, weights, t), metric in self.collected.items():
            about = {"split": split, "weights": weights, "t": round(t, 12)}  # the grid is made by additions
            yield {**about, **chain, **metric.compute()._asdict()}
