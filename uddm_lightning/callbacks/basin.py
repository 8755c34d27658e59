"""Critical corruption: how far from a row the chain may start and still return to it."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.callbacks.probe import MeasuredBatch, Probe, margins
from uddm_lightning.metrics import CriticalTime
from uddm_lightning.samplers import Sampler
from uddm_lightning.tables import Record
from uddm_lightning.task import DiffusionTask


class BasinProbe(Probe):
    """The critical corruption t_c of each row: the largest t from which the chain returns to it, its basin's radius.

    A row and its key make one path x_t: what noise has touched at some t it has touched at every larger t, in the same
    way, and chains from different t share their noise where they overlap. Along this path t_c is found by bisection
    over the times of the sampler's grid. It is 0 where the chain does not return from the smallest of them, and 1 where
    it returns from pure noise.

    Bisection asks about few of the times. Where the chain returns from every t up to some boundary and from none
    beyond, that boundary is found. Where it does not, because luck brings it back from a larger t than one that it is
    lost from, one of the boundaries is: from t_c it returns, from the next time of the grid it does not.

    Args:
        sampler: the chain; None takes the task's.
        tolerance: share of a row's counted tokens that may differ where it is said to have returned, in [0, 1).
        include_special: count begin, end and separator positions too, as the paper does.
        weights: see `Probe`.
        draws: see `Probe`.
        draws_on_the_way: see `Probe`.
        enabled: see `Probe`.
    """

    kind = "basin"
    splits = ("train", "test", "random")

    def __init__(
        self,
        sampler: Sampler | None = None,
        tolerance: float = 0.0,
        include_special: bool = False,
        weights: Sequence[Literal["ema", "raw"]] = ("ema",),
        draws: int | None = 256,
        draws_on_the_way: int | None = 0,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, draws, draws_on_the_way, enabled)
        if not 0.0 <= tolerance < 1.0:
            raise ValueError(f"`basin.tolerance` must be in [0, 1), got {tolerance}.")
        self.sampler = sampler
        self.tolerance = tolerance
        self.include_special = include_special

    @override
    def measure(self, at: MeasuredBatch) -> None:
        batch = at.batch
        metric = self.metric(at, CriticalTime, length=batch.tokens_BL.shape[1])
        metric.update(self.critical(at), *margins(at), batch.rows_B, batch.places_B)

    def critical(self, at: MeasuredBatch) -> Tensor:
        """Critical corruption times (B,) of a batch, float64 in [0, 1]."""
        sampler, x0_BL = self.sampler or at.task.sampler, at.batch.tokens_BL
        grid = sampler.grid(1.0)[-2::-1]  # ascending, without the 0
        times_T = torch.tensor([0.0, *grid[:-1], 1.0], dtype=torch.float64, device=x0_BL.device)
        # places in `times`: of one from which the row returns, and of one from which it does not
        home_B = torch.zeros(len(x0_BL), dtype=torch.int64, device=x0_BL.device)
        lost_B = torch.full_like(home_B, len(times_T))
        while len(open_M := (lost_B - home_B > 1).nonzero()[:, 0]):
            middle_M = (home_B[open_M] + lost_B[open_M]) // 2
            back_M = self._returns(at, sampler, open_M, times_T[middle_M])
            home_B[open_M] = middle_M.where(back_M, home_B[open_M])
            lost_B[open_M] = lost_B[open_M].where(back_M, middle_M)
        return times_T[home_B]

    def _returns(self, at: MeasuredBatch, sampler: Sampler, which_M: Tensor, t_M: Tensor) -> Tensor:
        """Whether some rows of a batch come back, each from a time of its own, bool (M,)."""
        x0_ML, keys_M, counted_ML = at.batch.tokens_BL[which_M], at.batch.keys_B[which_M], at.counted_BL[which_M]
        valid_ML = None if at.batch.valid_BL is None else at.batch.valid_BL[which_M]
        xt_ML = at.task.process.corrupt(x0_ML, t_M, keys_M, valid_ML).xt_BL
        xhat_ML = sampler(at.denoiser, xt_ML, t_M, keys_M, valid_ML, xt_ML == x0_ML)
        wrong_M = (counted_ML & (xhat_ML != x0_ML)).sum(1)
        return wrong_M <= self.tolerance * counted_ML.sum(1) + 1e-9  # 0.29 * 100 is not 29

    @override
    def conclude(self, task: DiffusionTask) -> Iterable[Record]:
        sampler = self.sampler or task.sampler
        for (split, weights), metric in self._metrics.items():
            result = metric.compute()._asdict()
            yield {
                "split": split,
                "weights": weights,
                "chain": sampler.chain,
                "steps": sampler.steps,
                "_rows": result.pop("rows"),
                **result,
            }
