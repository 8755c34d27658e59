"""The negative evidence lower bound (NELBO) per token.

Shapes: B rows, L positions.
"""

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.metrics.rowwise import ORIGIN, Draws, RowIds, RowwiseMetric, check, masked_sum
from uddm_lightning.stats.intervals import mean_interval


class NelboResult(NamedTuple):
    """Result of `Nelbo`; NaN if nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: draws of rows, each evaluated at one or more times; number of evaluations if draws have no numbers.
        nelbo: mean per valid token, in nats, over the range of times at which the losses were drawn.
        nelbo_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single unit.
        nelbo_high: upper end.
        draws: `row_id`, `document`, `draw`, `count` of valid tokens and `loss` of each draw; the loss is the sum over
            these tokens, averaged over the times.
    """

    n_rows: int
    n_draws: int
    nelbo: float
    nelbo_low: float
    nelbo_high: float
    draws: Draws


class Nelbo(RowwiseMetric):
    """Average losses over valid tokens.

    Example:
        >>> metric = Nelbo()
        >>> loss_BL, valid_BL = torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[True, True, False]])
        >>> metric.update(loss_BL, valid_BL, RowIds(torch.tensor([0])))
        >>> metric.compute().nelbo
        2.0
    """

    lowest: ClassVar[float | None] = 0.0  # smallest possible mean

    def __init__(self) -> None:
        super().__init__()
        self.declare("draws", "times", "count", "sum", *ORIGIN)

    @override
    def update(self, loss_BL: Tensor, valid_BL: Tensor, ids: RowIds) -> None:
        """Add a batch.

        Args:
            loss_BL: bounds in nats, each at least 0.
            valid_BL: bool, False at padding.
            ids: ids of the rows and of their draws.
        """
        check(ids.rows_B, valid_BL, loss_BL=loss_BL)
        sums = (torch.ones_like(ids.rows_B), valid_BL.sum(1), masked_sum(loss_BL, valid_BL))
        self.record_draws("draws", ids, *sums)

    @override
    def compute(self) -> NelboResult:
        """Return the mean over all draws, with its interval clustered by unit of error."""
        rows, draws, sums = self.per_unit("draws")
        mean = mean_interval(sums["sum"], sums["count"], self.lowest)
        origin, each = self.per_draw("draws")
        times = each["times"]
        own = {"count": (each["count"] / times).astype(np.int64), "loss": each["sum"] / times}
        return NelboResult(rows, draws, *mean, origin | own)


class NelboDifference(Nelbo):
    """Average differences of two losses over valid tokens; they may have any sign.

    Example:
        >>> metric = NelboDifference()
        >>> metric.update(torch.tensor([[-1.0, 3.0]]), torch.tensor([[True, True]]), RowIds(torch.tensor([0])))
        >>> metric.compute().nelbo
        1.0
    """

    lowest = None
