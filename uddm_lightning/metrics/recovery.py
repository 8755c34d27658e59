"""Token recovery: the share of corrupted tokens that the reverse chain restores.

Shapes: B rows, L positions.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.metrics.rowwise import ORIGIN, Draws, RowIds, RowwiseMetric, check, histogram, masked_sum, ratio
from uddm_lightning.stats.intervals import mean_interval, rate_interval


class RecoveryResult(NamedTuple):
    """Result of `TokenRecovery`; a rate is NaN if nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in total.
        n_corrupted: counted tokens that the noise changed.
        n_recovered: those of them that the chain restored.
        recovery: n_recovered / n_corrupted.
        recovery_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single unit.
        recovery_high: upper end.
        chance: mean over corrupted tokens of the probability that the unigram model restores them.
        n_clean: counted tokens that the noise did not change.
        n_clean_changed: those of them that the chain changed.
        clean_change_rate: n_clean_changed / n_clean.
        errors_before: share of counted tokens that are wrong before the chain.
        errors_after: share of counted tokens that are wrong after the chain.
        n_exact: draws with corrupted tokens whose counted tokens are all right after the chain.
        exact_match_rate: n_exact over the draws with corrupted tokens.
        bayes_argmax: mean over corrupted tokens of the largest probability of the exact posterior; NaN if the
            distribution of the text is not known.
        draws: `row_id`, `document` (-1 if unknown), `draw` and the integer counts `corrupted`, `recovered`, `clean` and
            `changed` of each draw.
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
    """Count the tokens of each row that the chain restores, and those that it damages.

    With c = [x_t != x_0]: recovery = #(c and x^ = x_0) / #c, clean change rate = #(not c and x^ != x_0) / #(not c).

    Example:
        >>> metric = TokenRecovery()
        >>> x0_BL, xt_BL = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0, 0, 3, 4]])
        >>> xhat_BL = torch.tensor([[1, 0, 3, 0]])
        >>> chance_BL = torch.full((1, 4), 0.25, dtype=torch.float64)
        >>> metric.update(x0_BL, xt_BL, xhat_BL, torch.ones(1, 4).bool(), RowIds(torch.tensor([0])), chance_BL)
        >>> result = metric.compute()
        >>> result.recovery, result.clean_change_rate
        (0.5, 0.5)
    """

    def __init__(self) -> None:
        super().__init__()
        counts = ("corrupted", "recovered", "clean", "changed", "touched", "exact")
        self.declare("draws", *counts, "chance", "bayes_argmax", *ORIGIN)

    @override
    def update(
        self,
        x0_BL: Tensor,
        xt_BL: Tensor,
        xhat_BL: Tensor,
        counted_BL: Tensor,
        ids: RowIds,
        chance_BL: Tensor,
        bayes_BL: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            x0_BL: int64 clean ids.
            xt_BL: int64 ids the chain started from.
            xhat_BL: int64 ids the chain ended at.
            counted_BL: bool, True at positions to count (neither padding nor special).
            ids: ids of the rows and of their draws.
            chance_BL: probability in [0, 1] that chance restores a token; read at corrupted counted positions only.
            bayes_BL: largest probability in [0, 1] of the exact posterior, for `bayes_argmax`; read at
                corrupted counted positions only. None where the law is not known.
        """
        check(ids.rows_B, counted_BL, x0_BL=x0_BL, xt_BL=xt_BL, xhat_BL=xhat_BL, chance_BL=chance_BL)
        corrupted_BL = counted_BL & (xt_BL != x0_BL)
        clean_BL = counted_BL & (xt_BL == x0_BL)
        wrong_BL = counted_BL & (xhat_BL != x0_BL)
        touched_B = corrupted_BL.any(1)
        bayes_BL = torch.full_like(chance_BL, torch.nan) if bayes_BL is None else bayes_BL
        self.record_draws(
            "draws",
            ids,
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
        """Return rates over all draws, with the interval of recovery clustered by unit of error."""
        rows, draws, sums = self.per_unit("draws")
        total = {name: float(values.sum()) for name, values in sums.items()}
        counted = total["corrupted"] + total["clean"]
        recovery = rate_interval(sums["recovered"], sums["corrupted"])
        origin, each = self.per_draw("draws")
        counts = ("corrupted", "recovered", "clean", "changed")
        return RecoveryResult(
            rows,
            draws,
            int(total["corrupted"]),
            int(total["recovered"]),
            *recovery,
            chance=ratio(total["chance"], total["corrupted"]),
            n_clean=int(total["clean"]),
            n_clean_changed=int(total["changed"]),
            clean_change_rate=ratio(total["changed"], total["clean"]),
            errors_before=ratio(total["corrupted"], counted),
            errors_after=ratio(total["corrupted"] - total["recovered"] + total["changed"], counted),
            n_exact=int(total["exact"]),
            exact_match_rate=ratio(total["exact"], total["touched"]),
            bayes_argmax=ratio(total["bayes_argmax"], total["corrupted"]),
            draws=origin | {name: each[name].astype(np.int64) for name in counts},
        )


class MarginResult(NamedTuple):
    """Result of `ClassificationMargin`; NaN if nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in total.
        margin: mean margin per token, in nats.
        fixed_tokens: share of tokens with a margin above 0, whose own id is the most probable one.
        fixed_rows: share of draws whose counted tokens are all fixed (fixed points), among draws with counted tokens.
        hebbian_factor: mean of 1 - tanh(margin / 2) per token, in [0, 2]. For two ids this is the factor of Hebb's rule
            in the gradient of the pseudo-likelihood, 1 - tanh(x_l h_l) of D'Amico et al. 2025, arXiv 2507.05147: the
            share of the gradient that is left. For more ids it is the factor against the likeliest other id alone.
        edges: float64 (bins + 1,) edges of the histogram in nats.
        histogram: int64 (bins,) tokens per bin; the outer bins hold all values beyond them.
        draws: `row_id`, `document`, `draw` and `margin` (smallest margin of the counted tokens, or NaN) of each draw.
    """

    n_rows: int
    n_draws: int
    margin: float
    fixed_tokens: float
    fixed_rows: float
    hebbian_factor: float
    edges: Tensor
    histogram: Tensor
    draws: Draws


class ClassificationMargin(RowwiseMetric):
    """Average the classification margin ln p[x_0] - max_{v != x_0} ln p[v], and count its signs.

    Args:
        low: lower edge of the histogram, in nats.
        high: upper edge, above `low`.
        bins: number of bins of equal width, at least 1.

    Example:
        >>> metric = ClassificationMargin()
        >>> metric.update(torch.tensor([[2.0, -1.0]]), torch.ones(1, 2).bool(), RowIds(torch.tensor([0])))
        >>> metric.compute().fixed_tokens
        0.5
    """

    histogram: Tensor

    def __init__(self, low: float = -20.0, high: float = 20.0, bins: int = 80) -> None:
        if not low < high:
            raise ValueError(f"`high` must be above `low`, got low = {low} and high = {high}.")
        check_at_least(1, bins=bins)
        super().__init__()
        self.low, self.high, self.bins = low, high, bins
        self.declare("draws", "least", "count", "sum", "fixed_tokens", "counted", "fixed_rows", "factor", *ORIGIN)
        self.add_state("histogram", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(self, margin_BL: Tensor, counted_BL: Tensor, ids: RowIds) -> None:
        """Add a batch.

        Args:
            margin_BL: margins in nats; an infinite margin (a certain prediction) makes the mean infinite.
            counted_BL: bool, True at positions to count.
            ids: ids of the rows and of their draws.
        """
        check(ids.rows_B, counted_BL, margin_BL=margin_BL)
        fixed_BL = counted_BL & (margin_BL > 0)
        counted_B = counted_BL.any(1)
        self.record_draws(
            "draws",
            ids,
            margin_BL.double().where(counted_BL, torch.inf).amin(1).where(counted_B, torch.nan),
            counted_BL.sum(1),
            masked_sum(margin_BL, counted_BL),
            fixed_BL.sum(1),
            counted_B,
            counted_B & (fixed_BL == counted_BL).all(1),
            masked_sum(1 - torch.tanh(margin_BL.double() / 2), counted_BL),
        )
        counted_BL = counted_BL & (ids.rows_B >= 0)[:, None]
        self.histogram += histogram(margin_BL[counted_BL], self.low, self.high, self.bins).to(self.device)

    @override
    def compute(self) -> MarginResult:
        """Return the mean, the shares above 0 and the histogram of all draws."""
        rows, draws, sums = self.per_unit("draws")
        origin, each = self.per_draw("draws")
        return MarginResult(
            rows,
            draws,
            margin=mean_interval(sums["sum"], sums["count"], low=None).value,
            fixed_tokens=ratio(float(sums["fixed_tokens"].sum()), float(sums["count"].sum())),
            fixed_rows=ratio(float(sums["fixed_rows"].sum()), float(sums["counted"].sum())),
            hebbian_factor=ratio(float(sums["factor"].sum()), float(sums["count"].sum())),
            edges=torch.linspace(self.low, self.high, self.bins + 1, dtype=torch.float64),
            histogram=self.histogram,
            draws=origin | {"margin": each["least"]},
        )
