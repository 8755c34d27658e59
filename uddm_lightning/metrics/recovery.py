"""Token recovery: how many corrupted tokens the reverse chain brings back.

Shapes: B rows, L positions.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.metrics.rowwise import ORIGIN, Draws, RowwiseMetric, check, histogram, masked_sum, origin, ratio
from uddm_lightning.stats.intervals import mean_interval, rate_interval


class RecoveryResult(NamedTuple):
    """What `TokenRecovery` computes; rates are NaN where nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in all.
        n_corrupted: counted tokens that the noise had changed.
        n_recovered: those among them that the chain restored.
        recovery: n_recovered / n_corrupted.
        recovery_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single one.
        recovery_high: upper end.
        chance: mean over corrupted tokens of the probability that the unigram model restores them.
        n_clean: counted tokens that the noise had left alone.
        n_clean_changed: those among them that the chain rewrote.
        clean_change_rate: n_clean_changed / n_clean.
        errors_before: share of counted tokens that were wrong when the chain began.
        errors_after: share of counted tokens that were wrong when it had ended.
        n_exact: draws in which noise had changed counted tokens, and every counted token ended right.
        exact_match_rate: share of these among the draws in which noise had changed counted tokens.
        bayes_argmax: mean over corrupted tokens of the largest probability that anybody could give to an id, where the
            law of the text is known (see `bayes_argmax`); NaN where it is not.
        draws: of each draw its `row_id`, `document` (-1 where it is not known), `draw` and integer counts `corrupted`,
            `recovered`, `clean` and `changed`.
    """

    n_rows: int
    n_draws: int
    n_corrupted: int
    n_recovered: int
    recovery: float
    recovery_low: float
    recovery_high: float
    chance: float
    n_clean: int
    n_clean_changed: int
    clean_change_rate: float
    errors_before: float
    errors_after: float
    n_exact: int
    exact_match_rate: float
    bayes_argmax: float
    draws: Draws


class TokenRecovery(RowwiseMetric):
    """Counts, row by row, what the chain restored and what it broke.

    With c = [x_t != x_0]: recovery = #(c and x^ = x_0) / #c, unstable rate = #(not c and x^ != x_0) / #(not c).
    """

    def __init__(self) -> None:
        super().__init__()
        counts = ("corrupted", "recovered", "clean", "unstable", "touched", "exact")
        self.declare("draws", *counts, "chance", "bayes_argmax", *ORIGIN)

    @override
    def update(
        self,
        x0_BL: Tensor,
        xt_BL: Tensor,
        xhat_BL: Tensor,
        counted_BL: Tensor,
        rows_B: Tensor,
        chance_BL: Tensor,
        documents_B: Tensor | None = None,
        places_B: Tensor | None = None,
        bayes_BL: Tensor | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            x0_BL: int64 clean ids.
            xt_BL: int64 ids the chain started from.
            xhat_BL: int64 ids the chain ended at.
            counted_BL: bool, True at positions to count (neither padding nor special).
            rows_B: int64 row ids; -1 marks a filler row, which is ignored.
            chance_BL: probability in [0, 1] that chance restores a token; read at corrupted counted positions only.
            documents_B: see `RowwiseMetric.record_draws`.
            places_B: likewise.
            bayes_BL: largest probability in [0, 1] that the law of the text gives to an id, for `bayes_argmax`; read at
                corrupted counted positions only. None where the law is not known.
        """
        check(rows_B, counted_BL, x0_BL=x0_BL, xt_BL=xt_BL, xhat_BL=xhat_BL, chance_BL=chance_BL)
        corrupted_BL = counted_BL & (xt_BL != x0_BL)
        clean_BL = counted_BL & (xt_BL == x0_BL)
        wrong_BL = counted_BL & (xhat_BL != x0_BL)
        touched_B = corrupted_BL.any(1)
        bayes_BL = torch.full_like(chance_BL, torch.nan) if bayes_BL is None else bayes_BL
        self.record_draws(
            "draws",
            rows_B,
            documents_B,
            places_B,
            corrupted_BL.sum(1),
            (corrupted_BL & ~wrong_BL).sum(1),
            clean_BL.sum(1),
            (clean_BL & wrong_BL).sum(1),
            touched_B,
            touched_B & ~wrong_BL.any(1),
            masked_sum(chance_BL, corrupted_BL),
            masked_sum(bayes_BL, corrupted_BL),
        )

    @override
    def compute(self) -> RecoveryResult:
        """Rates over all draws so far, with the interval of recovery clustered by unit of error."""
        rows, draws, sums = self.per_unit("draws")
        total = {name: float(values.sum()) for name, values in sums.items()}
        recovery = rate_interval(sums["recovered"], sums["corrupted"])
        each = self.per_draw("draws")
        counts = {"corrupted": "corrupted", "recovered": "recovered", "clean": "clean", "changed": "unstable"}
        return RecoveryResult(
            n_rows=rows,
            n_draws=draws,
            n_corrupted=int(total["corrupted"]),
            n_recovered=int(total["recovered"]),
            recovery=recovery.value,
            recovery_low=recovery.low,
            recovery_high=recovery.high,
            chance=ratio(total["chance"], total["corrupted"]),
            n_clean=int(total["clean"]),
            n_clean_changed=int(total["unstable"]),
            clean_change_rate=ratio(total["unstable"], total["clean"]),
            errors_before=ratio(total["corrupted"], total["corrupted"] + total["clean"]),
            errors_after=ratio(
                total["corrupted"] - total["recovered"] + total["unstable"], total["corrupted"] + total["clean"]
            ),
            n_exact=int(total["exact"]),
            exact_match_rate=ratio(total["exact"], total["touched"]),
            bayes_argmax=ratio(total["bayes_argmax"], total["corrupted"]),
            draws=origin(each) | {name: each[column].astype(np.int64) for name, column in counts.items()},
        )


class MarginResult(NamedTuple):
    """What `ClassificationMargin` computes; NaN where nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in all.
        margin: mean margin per token, in nats.
        margin_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single one.
        margin_high: upper end.
        fixed_tokens: share of tokens whose margin is above 0: their own id is the likeliest one.
        fixed_rows: share of draws of which all counted tokens are so, among those with counted tokens: fixed points.
        edges: float64 (bins + 1,) edges of the histogram in nats.
        histogram: int64 (bins,) tokens per bin; the outer bins hold what lies beyond them.
        draws: of each draw its `row_id`, `document`, `draw` and `margin`, the smallest of its counted tokens; NaN where
            it has none.
    """

    n_rows: int
    n_draws: int
    margin: float
    margin_low: float
    margin_high: float
    fixed_tokens: float
    fixed_rows: float
    edges: Tensor
    histogram: Tensor
    draws: Draws


class ClassificationMargin(RowwiseMetric):
    """Mean, sign and histogram of ln p[x_0] - max_{v != x_0} ln p[v].

    Args:
        low: lower edge of the histogram, in nats.
        high: upper edge, above `low`.
        bins: number of bins of equal width, at least 1.
    """

    histogram: Tensor

    def __init__(self, low: float = -20.0, high: float = 20.0, bins: int = 80) -> None:
        if not low < high:
            raise ValueError(f"`high` must be above `low`, got low = {low} and high = {high}.")
        if bins < 1:
            raise ValueError(f"`bins` must be at least 1, got {bins}.")
        super().__init__()
        self.low, self.high, self.bins = low, high, bins
        self.declare("draws", "least", "count", "sum", "fixed_tokens", "counted", "fixed_rows", *ORIGIN)
        self.add_state("histogram", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(
        self,
        margin_BL: Tensor,
        counted_BL: Tensor,
        rows_B: Tensor,
        documents_B: Tensor | None = None,
        places_B: Tensor | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            margin_BL: margins in nats; an infinite one (a certain prediction) makes the mean infinite.
            counted_BL: bool, True at positions to count.
            rows_B: int64 row ids; -1 marks a filler row, which is ignored.
            documents_B: see `RowwiseMetric.record_draws`.
            places_B: likewise.
        """
        check(rows_B, counted_BL, margin_BL=margin_BL)
        fixed_BL = counted_BL & (margin_BL > 0)
        counted_B = counted_BL.any(1)
        self.record_draws(
            "draws",
            rows_B,
            documents_B,
            places_B,
            margin_BL.double().where(counted_BL, torch.inf).amin(1).where(counted_B, torch.nan),
            counted_BL.sum(1),
            masked_sum(margin_BL, counted_BL),
            fixed_BL.sum(1),
            counted_B,
            counted_B & (fixed_BL == counted_BL).all(1),
        )
        counted_BL = counted_BL & (rows_B >= 0)[:, None]
        self.histogram += histogram(margin_BL[counted_BL], self.low, self.high, self.bins).to(self.device)

    @override
    def compute(self) -> MarginResult:
        """Mean, shares above 0 and histogram over all draws so far."""
        rows, draws, sums = self.per_unit("draws")
        mean = mean_interval(sums["sum"], sums["count"], low=None)
        each = self.per_draw("draws")
        return MarginResult(
            n_rows=rows,
            n_draws=draws,
            margin=mean.value,
            margin_low=mean.low,
            margin_high=mean.high,
            fixed_tokens=ratio(float(sums["fixed_tokens"].sum()), float(sums["count"].sum())),
            fixed_rows=ratio(float(sums["fixed_rows"].sum()), float(sums["counted"].sum())),
            edges=torch.linspace(self.low, self.high, self.bins + 1, dtype=torch.float64),
            histogram=self.histogram,
            draws=origin(each) | {"margin": each["least"]},
        )
