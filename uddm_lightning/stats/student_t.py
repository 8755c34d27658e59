"""Quantiles of Student's t."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.core.errors import check_at_least, check_within

FLOAT = NDArray[np.float64]
_SERIES = 30  # degrees of freedom up to which the quantile is solved for; above it the expansion is exact to 1e-7


@cache
def student_t(df: int, level: float = 0.975) -> float:
    """Return a quantile of Student's t with `df` degrees of freedom.

    Up to 30 degrees of freedom, Newton's method solves the closed form of the distribution function (Abramowitz and
    Stegun, 26.7.3 and 26.7.4). Above, it is the Cornish-Fisher expansion around the normal quantile (26.7.5).

    Args:
        df: degrees of freedom, at least 1.
        level: probability below the quantile, in (0.9, 0.99).

    Returns:
        The quantile, to a relative accuracy of 1e-7.

    Raises:
        ValueError: `df` is below 1 or `level` outside its range.

    Example:
        >>> round(student_t(2), 4)
        4.3027
    """
    check_within("(0.9, 0.99)", level=level)
    check_at_least(1, df=df)
    z = NormalDist().inv_cdf(level)
    if df == 1:
        return math.tan(math.pi * (level - 0.5))
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
        t -= (_two_sided(t, df) - (2 * level - 1)) / (2 * scale * (1 + t * t / df) ** (-(df + 1) / 2))
    return t


def _two_sided(t: float, df: int) -> float:
    """Return P(|T| < t), a finite sum in powers of cos(theta) with tan(theta) = t / sqrt(df)."""
    theta = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine**2 * (power - 1) / power
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def student_t_array(df_S: FLOAT, level: float) -> FLOAT:
    """Return quantiles for fractional degrees of freedom, rounded down to at least 1."""
    distinct, places = np.unique(np.maximum(df_S, 1.0).astype(np.int64), return_inverse=True)
    return np.array([student_t(int(df), level) for df in distinct], np.float64)[places].reshape(df_S.shape)
