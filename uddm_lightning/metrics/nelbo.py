"""The negative evidence lower bound per token, measured.

Shapes: B rows, L positions.
"""

from typing import NamedTuple

from torch import Tensor
from typing_extensions import override

from uddm_lightning.intervals import mean_interval
from uddm_lightning.metrics.rowwise import RowwiseMetric, check, masked_sum


class NelboResult(NamedTuple):
    """What `Nelbo` computes; NaN where nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in all.
        nelbo: mean per valid token, in nats, over the range of times at which the losses were drawn.
        nelbo_low: lower end of its 95 % interval, clustered by row; NaN with a single row.
        nelbo_high: upper end.
    """

    n_rows: int
    n_draws: int
    nelbo: float
    nelbo_low: float
    nelbo_high: float


class Nelbo(RowwiseMetric):
    """Averages losses over valid tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.declare("draws", "count", "sum")

    @override
    def update(self, loss_BL: Tensor, valid_BL: Tensor, rows_B: Tensor) -> None:
        """Adds a batch.

        Args:
            loss_BL: bounds in nats, each at least 0.
            valid_BL: bool, False at padding.
            rows_B: int64 row ids; -1 marks a filler row, which is ignored.
        """
        check(rows_B, valid_BL, loss_BL=loss_BL)
        self.record("draws", rows_B, valid_BL.sum(1), masked_sum(loss_BL, valid_BL))

    @override
    def compute(self) -> NelboResult:
        """Mean over all draws so far, with its interval clustered by row."""
        rows, draws, sums = self.per_row("draws")
        mean = mean_interval(sums["sum"], sums["count"])
        return NelboResult(len(rows), int(draws.sum()), mean.value, mean.low, mean.high)
