"""Spread of predictions at one point of the reverse chain.

Shapes: B rows, L positions.
"""

import math
from typing import NamedTuple

from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.metrics.functional import PredictionSpread
from uddm_lightning.metrics.rowwise import ORIGIN, RowIds, RowwiseMetric, check, masked_sum, ratio
from uddm_lightning.stats.intervals import mean_interval


class TrajectoryResult(NamedTuple):
    """Result of `TrajectoryPoint`: means per counted token; NaN if nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in total.
        entropy: mean entropy in nats.
        entropy_low: lower end of its 95 % interval, clustered by row; NaN with a single row.
        entropy_high: upper end.
        variance: mean of sum_v p_v (1 - p_v).
        variance_norm: mean of sqrt(sum_v (p_v (1 - p_v))^2): the norm is taken for each token, then averaged.
        top2_gap: mean of the largest minus the second largest probability.
        top_probability: mean of the largest probability.
    """

    n_rows: int
    n_draws: int
    entropy: float
    entropy_low: float
    entropy_high: float
    variance: float
    variance_norm: float
    top2_gap: float
    top_probability: float


class TrajectoryPoint(RowwiseMetric):
    """Average the five measures of a `PredictionSpread` over tokens.

    Args:
        vocab_size: V, number of ids; at least 2.

    Example:
        >>> import torch
        >>> metric, ones_BL = TrajectoryPoint(vocab_size=4), torch.ones(1, 2)
        >>> spread_BL = PredictionSpread(ones_BL, 0.5 * ones_BL, 0.3 * ones_BL, 0.2 * ones_BL, 0.6 * ones_BL)
        >>> metric.update(spread_BL, ones_BL.bool(), RowIds(torch.tensor([0])))
        >>> metric.compute().entropy
        1.0
    """

    def __init__(self, vocab_size: int) -> None:
        check_at_least(2, vocab_size=vocab_size)
        super().__init__()
        self.largest = math.log(vocab_size)
        self.declare("draws", "count", *PredictionSpread._fields, *ORIGIN)

    @override
    def update(self, spread_BL: PredictionSpread, counted_BL: Tensor, ids: RowIds) -> None:
        """Add a batch.

        Args:
            spread_BL: measures of each token's prediction, each (B, L).
            counted_BL: bool, True at positions to count.
            ids: ids of the rows and of their draws.
        """
        check(ids.rows_B, counted_BL, **spread_BL._asdict())
        sums_B = (masked_sum(values_BL, counted_BL) for values_BL in spread_BL)
        self.record_draws("draws", ids, counted_BL.sum(1), *sums_B)

    @override
    def compute(self) -> TrajectoryResult:
        """Return means over all draws, with the interval of the entropy clustered by row."""
        rows, draws, sums = self.per_unit("draws")
        count = sums["count"]
        entropy = mean_interval(sums["entropy"], count, low=0.0, high=self.largest)
        others = {name: ratio(float(sums[name].sum()), float(count.sum())) for name in PredictionSpread._fields[1:]}
        return TrajectoryResult(rows, draws, *entropy, **others)
