"""Whether a difference is none: the whole interval inside a stated tolerance, outside it, or neither."""

import math
from typing import Literal, NamedTuple

from uddm_lightning.results.reference import TOLERANCE
from uddm_lightning.stats.intervals import Interval

Answer = Literal["inside", "outside", "cannot be told"]


class Equivalence(NamedTuple):
    """What an interval says of a difference.

    Attributes:
        answer: the whole interval lies "inside" (-tolerance, tolerance); it lies "outside", wholly on one side; or it
            "cannot be told".
        draws_needed: draws for each split after which the interval would lie on one side, if its middle stayed where
            it is and half its width shrank like one over their square root; None where it does already, or no number
            of draws would do.
    """

    answer: Answer
    draws_needed: int | None

    @property
    def equivalent(self) -> bool | None:
        """True inside, False outside, None where it cannot be told."""
        return {"inside": True, "outside": False}.get(self.answer)


def equivalence(interval: Interval, tolerance: float = TOLERANCE, draws: int = 0) -> Equivalence:
    """Tests whether a difference lies within a tolerance of 0.

    With a 95 % interval, a difference as large as the tolerance is called equivalent in 2.5 % of all cases at most
    (two one-sided tests: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). A wide interval is
    never inside: less data does not converge sooner.

    Args:
        interval: of the difference.
        tolerance: above 0, in the same unit.
        draws: draws of each split behind the interval; 0 where more would not help.

    Returns:
        The answer.

    Raises:
        ValueError: `tolerance` is not above 0.
    """
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be above 0, got {tolerance}.")
    value, low, high = interval
    if -tolerance < low and high < tolerance:
        return Equivalence("inside", None)
    if low > tolerance or high < -tolerance:
        return Equivalence("outside", None)
    if not all(map(math.isfinite, interval)) or draws < 1 or abs(value) == tolerance:
        return Equivalence("cannot be told", None)
    below, above = (value - low, high - value) if value >= 0 else (high - value, value - low)  # mirrored to value >= 0
    value = abs(value)
    if value < tolerance:
        factor = max(above / (tolerance - value), below / (tolerance + value))
    else:
        factor = below / (value - tolerance)
    return Equivalence("cannot be told", max(draws + 1, math.ceil(draws * factor**2)))
