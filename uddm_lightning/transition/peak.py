"""Whether a quantity peaks between the smallest and the largest size."""

from collections.abc import Sequence
from typing import NamedTuple

from uddm_lightning.stats.intervals import Interval


class Peak(NamedTuple):
    """The largest value of a curve.

    Attributes:
        size: training rows at which it is reached.
        value: with its 95 % interval.
        is_surely_inside: whether its interval lies above those of both the smallest and the largest size.
    """

    size: int
    value: Interval
    is_surely_inside: bool


def peak(sizes: Sequence[int], bounds: Sequence[tuple[float, float, float]]) -> Peak | None:
    """Return the largest value over at least three sizes; None with fewer.

    Args:
        sizes: training rows, ascending.
        bounds: value at each size, and the ends of its 95 % interval.

    Example:
        >>> peak([2, 32, 512], [(5.0, 4.0, 6.0), (9.0, 8.0, 10.0), (6.0, 5.0, 7.0)])
        Peak(size=32, value=Interval(value=9.0, low=8.0, high=10.0), is_surely_inside=True)
    """
    if len(sizes) < 3:
        return None
    values = [Interval(*one) for one in bounds]
    place = max(range(len(sizes)), key=lambda k: values[k].value)
    ends = max(values[0].high, values[-1].high)
    return Peak(sizes[place], values[place], values[place].low > ends)
