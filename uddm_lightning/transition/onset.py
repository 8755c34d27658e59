"""The step at which a curve over training steps first reaches a level."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from uddm_lightning.stats.intervals import Interval


class Onset(NamedTuple):
    """The time at which a curve rises above a level, in steps.

    Attributes:
        low: interpolated time; 0 if the level was reached by the first step, the last step with a value of at most the
            level if it was never surely reached.
        high: the same time; the first step if the level was reached by then, infinite if it was never surely reached.
        after: last measured step with a value of at most the level before it was surely reached; 0 without one.
        by: first measured step whose whole interval lies above the level; infinite without one.
    """

    low: float
    high: float
    after: float
    by: float


def onset(steps: Sequence[int], curve: Sequence[Interval], level: float) -> Onset:
    """Return the step at which a curve rises above a level for the first time.

    The first step whose whole interval lies above the level shows that the level was reached. The time is interpolated
    from the last step before it with a value of at most the level, linearly in the logarithm of the step.

    Args:
        steps: measured steps, ascending.
        curve: value with its interval at each step.
        level: in the unit of the curve.

    Example:
        >>> points = [Interval(value, value - 0.1, value + 0.1) for value in (0.0, 0.0, 1.0)]
        >>> round(onset([100, 200, 400], points, 0.5).low)
        283
    """
    below = [k for k, point in enumerate(curve) if not point.value > level]
    surely = next((k for k, point in enumerate(curve) if point.low > level), None)
    if surely is None:
        after = float(steps[below[-1]]) if below else 0.0
        return Onset(after, math.inf, after, math.inf)
    by, last = float(steps[surely]), max((k for k in below if k < surely), default=None)
    if last is None:
        return Onset(0.0, float(steps[0]), 0.0, by)
    start, end = math.log(steps[last]), math.log(steps[last + 1])
    low, high = curve[last].value, curve[last + 1].value
    time = math.exp(start + (end - start) * (level - low) / (high - low))
    return Onset(time, time, float(steps[last]), by)
