"""Locate the training size at which a curve is half way between its level at the smallest and at large sizes.

The curve has values y_k at sizes N_k, x_k = ln N_k. Its levels are measured, not extrapolated: the upper level P is the
value at the smallest size; the lower level F is 0 for a gap and otherwise the value at the largest size. With
r_k = (y_k - F) / (P - F), the half-way point lies between the neighbours i and i + 1 with r_i >= 1/2 > r_{i+1}:

    x* = x_i + (x_{i+1} - x_i) a / (a + b),    a = -g(r_i), b = g(r_{i+1}),
    g(r) = ln((r^(-1/kappa) - 1) / (2^(1/kappa) - 1))

g maps a generalized logistic curve (Richards, Journal of Experimental Botany 10, 1959) to a straight line that is 0 at
the half-way point. kappa = 1 is the logistic curve; other kappa fall early or late. Nothing else is assumed about the
shape, and sizes far from the middle have no influence. Two unknowns between two sizes are part of the interval:

* the shape: each replicate draws kappa between 0.29 and 3.5, with ln kappa uniform. Curves with kappa from 1/2 to 2 are
  covered at any noise level (88 % of them with limits of 0.4 and 2.5 and little noise). A curve beyond kappa = 1/3 or 3
  that is measured without noise may be missed;
* the distance to a plateau: a value within 2 % of the height of a level, or beyond it, may lie anywhere near it. a or b
  are then unbounded, and the interval extends to that size. If the curve falls between two neighbours, the interval is
  the whole range between them.

The interval reaches from the 2 % quantile of the lower to the 98 % quantile of the upper x* over replicates of all
measurements (`results.panel`); both were chosen by simulation. If a replicate is half way down more than once, the
lower x* is the first place and the upper x* the last. Curves need not be monotone.

Shapes: M curves or replicates, K sizes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FLOAT = NDArray[np.float64]

NEAR = 0.02  # values within this share of the height count as a plateau
_KAPPA = 3.5  # largest kappa, and one over the smallest
_LARGE = 1e6  # stands for a g without bound


class Crossing(NamedTuple):
    """Half-way points of M curves, in ln N.

    Attributes:
        low_M: smallest x* that the values allow; -inf for a curve that is above the middle at no size.
        value_M: x* for kappa = 1, with values near a plateau moved to a distance of `NEAR` from it.
        high_M: largest x*; inf for a curve that is above the middle at the largest size.
    """

    low_M: FLOAT
    value_M: FLOAT
    high_M: FLOAT


def half_way(x_K: FLOAT, y_MK: FLOAT, ends_at_zero: bool, kappa_M: FLOAT | float = 1.0) -> Crossing:
    """Return the half-way points of falling curves.

    Args:
        x_K: natural logarithms of at least two sizes, ascending.
        y_MK: values of the curves.
        ends_at_zero: whether the lower level is 0; otherwise it is the value at the largest size.
        kappa_M: shape of the curves between the neighbours.

    Example:
        >>> half_way(np.array([0.0, 1.0, 2.0, 3.0]), np.array([[1.0, 0.9, 0.1, 0.0]]), ends_at_zero=True).value_M
        array([1.5])
    """
    floor_M = np.zeros(len(y_MK)) if ends_at_zero else y_MK[:, -1]
    height_M = y_MK[:, 0] - floor_M
    with np.errstate(all="ignore"):  # curves without a height become NaN
        r_MK = (y_MK - floor_M[:, None]) / np.where(height_M > 0, height_M, np.nan)[:, None]
    above_MK = r_MK >= 0.5
    steps = len(x_K) - 1
    falls_MK = above_MK[:, :-1] & ~above_MK[:, 1:]
    first_M, last_M = falls_MK.argmax(1), steps - 1 - falls_MK[:, ::-1].argmax(1)
    found_M = falls_MK.any(1)
    kappa_M = np.broadcast_to(np.asarray(kappa_M, np.float64), first_M.shape)

    def place(i_M: NDArray[np.int64]) -> tuple[FLOAT, FLOAT, FLOAT]:
        """Return the smallest, the usual and the largest x* between the neighbours i and i + 1."""
        left_M, right_M = (np.take_along_axis(r_MK, (i_M + k)[:, None], 1)[:, 0] for k in (0, 1))
        a_M, b_M = -_straight(left_M, kappa_M), _straight(right_M, kappa_M)
        start_M, step_M = x_K[i_M], x_K[i_M + 1] - x_K[i_M]
        more_a_M, more_b_M = np.where(left_M >= 1.0 - NEAR, _LARGE, a_M), np.where(right_M <= NEAR, _LARGE, b_M)
        return (
            start_M + step_M * a_M / (a_M + more_b_M),
            start_M + step_M * a_M / (a_M + b_M),
            start_M + step_M * more_a_M / (more_a_M + b_M),
        )

    low_M, first_value_M, _ = place(first_M)
    _, last_value_M, high_M = place(last_M)
    value_M = (first_value_M + last_value_M) / 2
    missing_M = np.where(above_MK[:, -1], np.inf, -np.inf)  # without a fall: above everywhere, or nowhere
    return Crossing(
        np.where(found_M, low_M, missing_M),
        np.where(found_M, value_M, np.nan),
        np.where(found_M, high_M, missing_M),
    )


def _straight(r_M: FLOAT, kappa_M: FLOAT) -> FLOAT:
    """Return g(r), which is 0 at 1/2 and falls with r; r is clipped away from the levels."""
    r_M = np.clip(r_M, NEAR, 1.0 - NEAR)
    result_M: FLOAT = np.log(np.expm1(-np.log(r_M) / kappa_M) / np.expm1(np.log(2.0) / kappa_M))
    return result_M


def shapes(count: int, seed: int = 0) -> FLOAT:
    """Return random kappa (count,) between 1 / 3.5 and 3.5; the same for the same arguments."""
    kappa_M: FLOAT = np.exp(np.random.default_rng([1314, seed]).uniform(-1.0, 1.0, count) * np.log(_KAPPA))
    return kappa_M
