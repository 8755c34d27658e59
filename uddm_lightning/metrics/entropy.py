"""Conditional entropy of leave-one-out predictions.

Shapes: B rows, L positions.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.metrics.rowwise import ORIGIN, Draws, RowIds, RowwiseMetric, check, histogram, masked_sum, ratio
from uddm_lightning.stats.intervals import mean_interval


class EntropyResult(NamedTuple):
    """Result of `ConditionalEntropy`: means per token in nats; NaN if nothing was counted.

    Attributes:
        n_rows: distinct rows measured under noise.
        n_draws: measurements of rows under noise in total.
        entropy: mean over all counted tokens.
        entropy_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single unit.
        entropy_high: upper end.
        entropy_corrupted: mean over tokens that the noise changed.
        entropy_clean: mean over tokens that the noise did not change.
        entropy_recovered: mean over corrupted tokens that the chain restored.
        entropy_unrecovered: mean over corrupted tokens that the chain did not restore.
        entropy_leave_one_out: mean over tokens of uncorrupted text.
        self_token_influence: mean total variation, in [0, 1], of a prediction if only the token at its own position is
            redrawn.
        self_token_influence_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single unit.
        self_token_influence_high: upper end.
        edges: float64 (bins + 1,) edges of the histograms, from 0 to ln V.
        histogram_recovered: int64 (bins,), corrupted tokens that the chain restored.
        histogram_unrecovered: int64 (bins,), corrupted tokens that the chain did not restore.
        draws: `row_id`, `document`, `draw`, `count` of counted tokens and sum of their `entropy`, of each draw.
    """

    n_rows: int
    n_draws: int
    entropy: float
    entropy_low: float
    entropy_high: float
    entropy_corrupted: float
    entropy_clean: float
    entropy_recovered: float
    entropy_unrecovered: float
    entropy_leave_one_out: float
    self_token_influence: float
    self_token_influence_low: float
    self_token_influence_high: float
    edges: Tensor
    histogram_recovered: Tensor
    histogram_unrecovered: Tensor
    draws: Draws


class ConditionalEntropy(RowwiseMetric):
    """Average the entropy of leave-one-out predictions over all tokens and over kinds of tokens.

    Args:
        vocab_size: V, number of ids; at least 2.
        bins: number of bins of the histograms over [0, ln V], at least 1.

    Example:
        >>> metric, ones_BL = ConditionalEntropy(vocab_size=4), torch.ones(1, 2, dtype=torch.bool)
        >>> metric.update(torch.tensor([[0.2, 0.6]]), torch.tensor([[True, False]]), ones_BL, RowIds(torch.tensor([0])))
        >>> round(metric.compute().entropy, 3)
        0.4
    """

    histogram_recovered: Tensor
    histogram_unrecovered: Tensor

    def __init__(self, vocab_size: int, bins: int = 64) -> None:
        check_at_least(2, vocab_size=vocab_size)
        check_at_least(1, bins=bins)
        super().__init__()
        self.largest = math.log(vocab_size)
        self.bins = bins
        kinds = ("all", "corrupted", "clean", "recovered", "unrecovered")
        self.declare("draws", *(f"{kind}_{what}" for kind in kinds for what in ("count", "sum")), *ORIGIN)
        self.declare("clean", "count", "sum", "leak_count", "leak_sum", *ORIGIN)
        for name in ("histogram_recovered", "histogram_unrecovered"):
            self.add_state(name, torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(
        self,
        entropy_BL: Tensor,
        corrupted_BL: Tensor,
        counted_BL: Tensor,
        ids: RowIds,
        recovered_BL: Tensor | None = None,
    ) -> None:
        """Add a batch of rows under noise.

        Args:
            entropy_BL: entropies in nats.
            corrupted_BL: bool, x_t != x_0.
            counted_BL: bool, True at positions to count (neither padding nor special).
            ids: ids of the rows and of their draws.
            recovered_BL: bool, x^ = x_0, read at corrupted positions; None without a chain: then neither recovered nor
                unrecovered tokens are counted.
        """
        check(ids.rows_B, counted_BL, entropy_BL=entropy_BL, corrupted_BL=corrupted_BL)
        if recovered_BL is not None:
            check(ids.rows_B, counted_BL, recovered_BL=recovered_BL)
        counted_BL = counted_BL & (ids.rows_B >= 0)[:, None]
        hit_BL = counted_BL & corrupted_BL
        restored_BL = torch.zeros_like(hit_BL) if recovered_BL is None else hit_BL & recovered_BL
        lost_BL = torch.zeros_like(hit_BL) if recovered_BL is None else hit_BL & ~recovered_BL
        columns_B = []
        for mask_BL in (counted_BL, hit_BL, counted_BL & ~corrupted_BL, restored_BL, lost_BL):
            columns_B += [mask_BL.sum(1), masked_sum(entropy_BL, mask_BL)]
        self.record_draws("draws", ids, *columns_B)
        self.histogram_recovered += self._histogram(entropy_BL[restored_BL])
        self.histogram_unrecovered += self._histogram(entropy_BL[lost_BL])

    def update_clean(
        self, entropy_BL: Tensor, leak_B: Tensor, counted_BL: Tensor, leak_counted_B: Tensor, ids: RowIds
    ) -> None:
        """Add a batch of uncorrupted rows.

        Args:
            entropy_BL: entropies in nats, predicted from uncorrupted text.
            leak_B: total variation of the prediction at one position per row if only the token there is redrawn.
            counted_BL: bool, True at positions to count.
            leak_counted_B: bool, True where the position of `leak_B` is to be counted.
            ids: ids of the rows and of their draws.
        """
        check(ids.rows_B, counted_BL, entropy_BL=entropy_BL)
        check(ids.rows_B, leak_counted_B[:, None], leak_B=leak_B[:, None])
        leaks_B = masked_sum(leak_B[:, None], leak_counted_B[:, None])
        sums = (counted_BL.sum(1), masked_sum(entropy_BL, counted_BL), leak_counted_B, leaks_B)
        self.record_draws("clean", ids, *sums)

    def _histogram(self, values_N: Tensor) -> Tensor:
        return histogram(values_N, 0.0, self.largest, self.bins).to(self.device)

    @override
    def compute(self) -> EntropyResult:
        """Return means over all draws, with the interval of the entropy clustered by unit of error."""
        rows, draws, sums = self.per_unit("draws")
        origin, each = self.per_draw("draws")
        clean = self.per_unit("clean").sums
        leak = mean_interval(clean["leak_sum"], clean["leak_count"], low=0.0, high=1.0)
        mean = mean_interval(sums["all_sum"], sums["all_count"], low=0.0, high=self.largest)

        def average(kind: str) -> float:
            return ratio(float(sums[f"{kind}_sum"].sum()), float(sums[f"{kind}_count"].sum()))

        return EntropyResult(
            rows,
            draws,
            *mean,
            average("corrupted"),
            average("clean"),
            average("recovered"),
            average("unrecovered"),
            ratio(float(clean["sum"].sum()), float(clean["count"].sum())),
            *leak,
            edges=torch.linspace(0.0, self.largest, self.bins + 1, dtype=torch.float64),
            histogram_recovered=self.histogram_recovered,
            histogram_unrecovered=self.histogram_unrecovered,
            draws=origin | {"count": each["all_count"].astype(np.int64), "entropy": each["all_sum"]},
        )
