"""The largest number of bits that a model has memorized over all sizes, and its agreement between models."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from uddm_lightning.stats.intervals import Interval

APART = 2.0  # ratio of the sizes that show a plateau


class Capacity(NamedTuple):
    """Largest number of memorized bits over the measured sizes.

    Attributes:
        size: training rows at which it was reached.
        bits: with its 95 % interval at that size.
        reason: why this is no plateau; "" if a size at least 2 times away has as many bits, within both intervals.
    """

    size: int
    bits: Interval
    reason: str

    def per(self, parameters: int) -> Interval:
        """Return the bits per parameter."""
        return Interval(*(bits / parameters for bits in self.bits))


def capacity(sizes: Sequence[int], bounds: Sequence[tuple[float, float, float]]) -> Capacity | None:
    """Return the largest number of memorized bits, and whether it is a plateau over the sizes.

    A model that has memorized all it can has as many bits at larger sizes, until they are trained for too few epochs.
    The maximum over sizes is a lower bound of the capacity: longer training may raise it.

    Args:
        sizes: training rows, ascending.
        bounds: bits memorized of all rows of each size, and the ends of their 95 % interval.

    Returns:
        None without sizes, or if no interval lies above 0 bits.

    Example:
        >>> capacity([8, 32], [(90.0, 88.0, 92.0), (91.0, 87.0, 95.0)])
        Capacity(size=32, bits=Interval(value=91.0, low=87.0, high=95.0), reason='')
    """
    bits = [Interval(*one) for one in bounds]
    if not any(one.low > 0 for one in bits):
        return None
    place = max(range(len(sizes)), key=lambda k: bits[k].value)
    size, best = sizes[place], bits[place]
    if any(agree(best, bits[k]) and max(size / n, n / size) >= APART for k, n in enumerate(sizes)):
        return Capacity(size, best, "")
    if place == len(sizes) - 1:
        return Capacity(size, best, "it is reached at the largest size, so larger ones may reach more")
    beside = "larger" if place == 0 else "smaller or larger"
    return Capacity(size, best, f"no {beside} size that is {APART:g} times away reaches as much")


def agree(one: Interval, other: Interval) -> bool:
    """Return whether each of two estimates lies in the interval of the other."""
    return other.low <= one.value <= other.high and one.low <= other.value <= one.high


def disagreements(found: dict[str, Interval]) -> list[tuple[str, str]]:
    """Return the pairs of models whose estimates do not lie within each other's intervals."""
    return [(one, two) for one, two in combinations(found, 2) if not agree(found[one], found[two])]
