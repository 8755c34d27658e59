"""Test whether a difference is equivalent to 0: its interval lies inside a tolerance, outside, or neither."""

import math
from typing import NamedTuple

from uddm_lightning.results.reference import TOLERANCE
from uddm_lightning.stats.intervals import Interval


class Equivalence(NamedTuple):
    """Result of `equivalence`.

    Attributes:
        equivalent: True if the whole interval lies in (-tolerance, tolerance), False if it lies on one side of that
            range, None if it is undetermined.
        draws_needed: draws for each split that would decide, if the estimate stayed the same and the interval shrank
            like one over the square root of their number; None if no more are needed or no number would decide.
    """

    equivalent: bool | None
    draws_needed: int | None


def equivalence(interval: Interval, tolerance: float = TOLERANCE, draws: int = 0) -> Equivalence:
    """Test whether a difference lies within a tolerance of 0.

    With a 95 % interval, a difference as large as the tolerance is called equivalent in at most 2.5 % of all cases
    (two one-sided tests: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). A wide interval is
    never inside.

    Args:
        interval: interval of the difference.
        tolerance: above 0, in the same unit.
        draws: draws of each split behind the interval; 0 if more draws would not help.

    Returns:
        The answer.

    Raises:
        ValueError: `tolerance` is not above 0.

    Example:
        >>> equivalence(Interval(0.005, -0.005, 0.015)).equivalent
        True
        >>> equivalence(Interval(0.01, -0.02, 0.04), draws=100)
        Equivalence(equivalent=None, draws_needed=900)
    """
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be above 0, got {tolerance}.")
    value, low, high = interval
    if -tolerance < low and high < tolerance:
        return Equivalence(True, None)
    if low > tolerance or high < -tolerance:
        return Equivalence(False, None)
    if not all(map(math.isfinite, interval)) or draws < 1 or abs(value) == tolerance:
        return Equivalence(None, None)
    below, above = (value - low, high - value) if value >= 0 else (high - value, value - low)  # mirrored to value >= 0
    value = abs(value)
    if value < tolerance:
        factor = max(above / (tolerance - value), below / (tolerance + value))
    else:
        factor = below / (value - tolerance)
    return Equivalence(None, max(draws + 1, math.ceil(draws * factor**2)))
