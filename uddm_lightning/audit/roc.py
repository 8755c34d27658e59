"""Separation of members from nonmembers by a score: AUC and TPR at a fixed FPR, with intervals over documents.

Rows of a document are correlated, so that documents are resampled, each with its members and its nonmembers.

Shapes: N sequences, S resamples, U distinct scores, D documents.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.stats.intervals import NORMAL, Interval
from uddm_lightning.stats.student_t import student_t

FLOAT = NDArray[np.float64]
BOOL = NDArray[np.bool_]
INT = NDArray[np.int64]
RESAMPLES = 1000
CHUNK = 100  # resamples at a time
FPRS = (0.01, 0.001)


class Separation(NamedTuple):
    """How well a score separates members from nonmembers.

    Attributes:
        auc: probability that a member has a larger score than a nonmember; ties count one half.
        tpr: share of members above the lowest threshold that keeps the false positive rate, by that rate.
    """

    auc: Interval
    tpr: dict[float, Interval]


class RocCurve(NamedTuple):
    """Points of the ROC curve, from the largest threshold to the smallest.

    Attributes:
        fpr: share of nonmembers with at least the threshold's score (U + 1,).
        tpr: share of members with at least the threshold's score (U + 1,).
    """

    fpr: FLOAT
    tpr: FLOAT


def roc_curve(scores_N: FLOAT, member_N: BOOL) -> RocCurve:
    """Return the ROC curve of a score; sequences with equal scores share a point.

    Args:
        scores_N: larger for sequences that look like members.
        member_N: True at members.

    Raises:
        ValueError: a score is NaN, or one of the groups is empty.

    Example:
        >>> roc_curve(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False])).tpr.tolist()
        [0.0, 0.5, 1.0, 1.0]
    """
    members_SU, others_SU = _sums(scores_N, member_N, np.ones((1, len(scores_N))))
    fpr, tpr = (np.concatenate([[0.0], np.cumsum(part[0]) / part[0].sum()]) for part in (others_SU, members_SU))
    return RocCurve(fpr, tpr)


def separation(
    scores_N: FLOAT,
    member_N: BOOL,
    documents_N: INT,
    seed: int = 0,
    fprs: Sequence[float] = FPRS,
    resamples: int = RESAMPLES,
) -> Separation:
    """Return AUC and TPR at fixed FPRs with 95 % bootstrap intervals over documents.

    The bounds are percentiles of the resamples, with their distance from the value widened by the ratio of Student's t
    to the normal quantile, where n documents of the smaller group give n - 1 degrees of freedom.

    If the groups are fully separated, every resample gives the same AUC. The bound is then the share that all n
    documents of the smaller group have with a probability of 2.5 %, 0.025^(1 / n). If no nonmember can lie above a
    threshold without a larger FPR (fewer than 1 / FPR nonmembers), the TPR is that at FPR 0.

    Args:
        scores_N: larger for sequences that look like members.
        member_N: True at members.
        documents_N: document of each sequence.
        seed: of the resamples.
        fprs: false positive rates in [0, 1].
        resamples: number of resamples.

    Returns:
        The values; bounds are NaN with a single document.

    Raises:
        ValueError: a score is NaN, or one of the groups is empty.

    Example:
        >>> scores, member = np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False])
        >>> separation(scores, member, np.arange(4)).auc.value
        0.875
    """
    codes_N = np.unique(documents_N, return_inverse=True)[1]
    D = int(codes_N.max()) + 1
    generator = np.random.default_rng([1317, seed])
    values = [_measures(*_sums(scores_N, member_N, np.ones((1, len(scores_N)))), fprs)]
    for start in range(0, resamples if D > 1 else 0, CHUNK):
        size = min(CHUNK, resamples - start)
        counts_SD = generator.multinomial(D, np.full(D, 1 / D), size=size).astype(np.float64)
        values.append(_measures(*_sums(scores_N, member_N, counts_SD[:, codes_N]), fprs))
    first, *others = np.concatenate(values)
    drawn = np.array(others)[~np.isnan(others).any(1)] if others else np.empty((0, len(first)))
    if not len(drawn):
        drawn = np.full((1, len(first)), np.nan)
    lows, highs = np.quantile(drawn, 0.025, axis=0), np.quantile(drawn, 0.975, axis=0)
    smaller = min(len(np.unique(codes_N[group])) for group in (member_N, ~member_N))
    wider = student_t(max(1, smaller - 1)) / NORMAL
    intervals = []
    for value, low, high in zip(first.tolist(), lows.tolist(), highs.tolist(), strict=True):
        if low == high and value in (0.0, 1.0):
            low, high = (0.025 ** (1 / smaller), 1.0) if value else (0.0, 1.0 - 0.025 ** (1 / smaller))
        else:
            low, high = np.clip([value + wider * (bound - value) for bound in (low, high)], 0.0, 1.0).tolist()
        intervals.append(Interval(value, min(low, value), max(high, value)))
    return Separation(intervals[0], dict(zip(fprs, intervals[1:], strict=True)))


def _sums(scores_N: FLOAT, member_N: BOOL, weights_SN: FLOAT) -> tuple[FLOAT, FLOAT]:
    """Return the weights of members and of nonmembers at each distinct score (S, U), the largest score first."""
    if np.isnan(scores_N).any():
        raise ValueError("`scores_N` must not hold NaN.")
    if member_N.all() or not member_N.any():
        raise ValueError("`member_N` must hold members and nonmembers.")
    order_N = np.argsort(-scores_N, kind="stable")
    starts_U = np.flatnonzero(np.r_[True, np.diff(scores_N[order_N]) != 0])
    weights_SN, member_N = weights_SN[:, order_N], member_N[order_N]
    members_SU: FLOAT = np.add.reduceat(weights_SN * member_N, starts_U, axis=1)
    others_SU: FLOAT = np.add.reduceat(weights_SN * ~member_N, starts_U, axis=1)
    return members_SU, others_SU


def _measures(members_SU: FLOAT, others_SU: FLOAT, fprs: Sequence[float]) -> FLOAT:
    """Return AUC and TPRs (S, 1 + number of FPRs); NaN where a resample lacks a group."""
    with np.errstate(invalid="ignore", divide="ignore"):
        above_SU = np.cumsum(others_SU, 1)
        total_S = above_SU[:, -1]
        fpr_SU = above_SU / total_S[:, None]
        tpr_SU = np.cumsum(members_SU, 1) / members_SU.sum(1, keepdims=True)
        # pairs in which the nonmember has the smaller score, and half of the ties
        below_SU = total_S[:, None] - above_SU + others_SU / 2
        auc_S = (members_SU * below_SU).sum(1) / (members_SU.sum(1) * total_S)
    # rounding must not exclude the threshold whose FPR is exactly the limit
    tprs = [np.where(fpr_SU <= fpr + 1e-12, tpr_SU, 0.0).max(1) for fpr in fprs]
    measures: FLOAT = np.stack([auc_S, *(np.where(np.isnan(auc_S), np.nan, tpr_S) for tpr_S in tprs)], 1)
    return measures
