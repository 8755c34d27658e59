"""95 % intervals for ratios of sums over rows, where the tokens of one row resemble each other.

Rows are independent, tokens of a row are not, and rows hold different numbers of tokens. With y_r the sum and m_r the
count of row r, the estimate is the ratio m = sum_r y_r / sum_r m_r, and its variance is estimated between rows
(linearised, Cochran, "Sampling techniques", 3rd ed., eq. 6.13).

Shapes: R rows; the letter S stands for leading dimensions.
"""

import math
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLOAT = NDArray[np.float64]
_LEVEL = 0.975  # of the quantile: two sides of 2.5 % each
_SERIES = 30  # degrees of freedom up to which the quantile is solved for; above it the expansion is exact to 1e-7


class Interval(NamedTuple):
    """An estimate with its 95 % interval.

    Attributes:
        value: the estimate; NaN where there was nothing to count.
        low: lower bound; NaN where a single row leaves the variance between rows unknown.
        high: upper bound; NaN likewise.
    """

    value: float
    low: float
    high: float


@cache
def student_t(df: int) -> float:
    """The 97.5 % quantile of Student's t with `df` degrees of freedom.

    Up to 30 degrees the quantile solves the closed form of the distribution function by Newton's method (Abramowitz
    and Stegun, 26.7.3 and 26.7.4); above, the Cornish-Fisher expansion around the normal quantile (26.7.5) is used.

    Args:
        df: degrees of freedom, at least 1.

    Returns:
        The quantile, to a relative accuracy of 1e-7.

    Raises:
        ValueError: if `df` is below 1.
    """
    if df < 1:
        raise ValueError(f"`df` must be at least 1, got {df}.")
    z = NormalDist().inv_cdf(_LEVEL)
    if df == 1:
        return math.tan(math.pi * (_LEVEL - 0.5))
    t = (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * df**4)
    )
    if df > _SERIES:
        return t
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    for _ in range(8):
        t -= (_two_sided(t, df) - (2 * _LEVEL - 1)) / (2 * scale * (1 + t * t / df) ** (-(df + 1) / 2))
    return t


def _two_sided(t: float, df: int) -> float:
    """P(|T| < t), a finite sum in powers of cos(theta) with tan(theta) = t / sqrt(df)."""
    theta = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine**2 * (power - 1) / power
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def rate_interval(successes_R: ArrayLike, trials_R: ArrayLike) -> Interval:
    """Interval for a rate whose trials are clustered by row."""
    value, low, high = _bounds(np.asarray(successes_R, float), np.asarray(trials_R, float), 0.0, 1.0)
    return Interval(float(value), float(low), float(high))


def mean_interval(
    sums_R: ArrayLike, counts_R: ArrayLike, low: float | None = 0.0, high: float | None = None
) -> Interval:
    """Interval for a mean over tokens that are clustered by row."""
    value, lower, upper = _bounds(np.asarray(sums_R, float), np.asarray(counts_R, float), low, high)
    return Interval(float(value), float(lower), float(upper))


def _bounds(sums_SR: FLOAT, counts_SR: FLOAT, floor: float | None, ceiling: float | None) -> tuple[FLOAT, FLOAT, FLOAT]:
    rows_S = (counts_SR > 0).sum(-1)
    total_S = counts_SR.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        m_S = sums_SR.sum(-1) / total_S
        residuals_SR = sums_SR - m_S[..., None] * counts_SR
        variance_S = rows_S / (rows_S - 1) * (residuals_SR**2).sum(-1) / total_S**2
        t_S = np.where(rows_S > 1, np.vectorize(lambda rows: student_t(max(int(rows) - 1, 1)))(rows_S), np.nan)
        half_S = t_S * np.sqrt(variance_S)
    return m_S, np.clip(m_S - half_S, floor, None), np.clip(m_S + half_S, None, ceiling)


def difference_interval(first: Interval, second: Interval, correlation: float = 0.0) -> Interval:
    """Interval for the first estimate minus the second."""
    value = first.value - second.value
    down, up = first.value - first.low, second.high - second.value
    low = value - math.sqrt(max(down**2 + up**2 - 2 * correlation * down * up, 0.0))
    up, down = first.high - first.value, second.value - second.low
    high = value + math.sqrt(max(down**2 + up**2 - 2 * correlation * down * up, 0.0))
    return Interval(value, low, high)
