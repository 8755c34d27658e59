"""Choose the sizes to train next, so that the interval of N_half shrinks fastest."""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import Run, parse
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import Row
from uddm_lightning.stats.intervals import Interval, difference_interval
from uddm_lightning.transition.methods import QUANTITIES
from uddm_lightning.transition.profile_likelihood import half_way, shapes

FLOAT = NDArray[np.float64]

_DENSITY = 4  # candidates for each doubling
_REPLICATES = 400


def next_sizes(rows: Iterable[Row], low: int, high: int, budget: int, taken: Iterable[int] = ()) -> list[int]:
    """Return the sizes to train next.

    The first round consists of both ends of the range. Each later size is the candidate nearest to the middle of the
    widest interval in which a curve may reach half of its height. The curves are recovery and entropy of all backbones
    at the t nearest to 0.1. The result depends on the arguments only.

    Args:
        rows: rows of the sweep's table so far.
        low: smallest size of interest.
        high: largest size of interest.
        budget: number of sizes to train in total, including those in `rows` and `taken`.
        taken: sizes that have been started; they are not returned again.

    Returns:
        First the ends that are not taken yet, then one size per call. Empty if the budget is spent or no size is left.

    Raises:
        ValueError: not 1 <= low < high, or `budget` is below 1.

    Example:
        >>> next_sizes([], low=2, high=1024, budget=8)
        [2, 1024]
        >>> next_sizes([], low=2, high=1024, budget=8, taken=[2, 1024])  # no curve yet: the middle of the range
        [45]
    """
    rows = list(rows)
    if not 1 <= low < high:
        raise ValueError(f"`low` and `high` must satisfy 1 <= low < high, got {low} and {high}.")
    if budget < 1:
        raise ValueError(f"`budget` must be at least 1, got {budget}.")
    used = {*taken, *(int(row["train_size"]) for row in rows)}
    left = max(budget - len(used), 0)
    ends = [low, high] if budget > 1 else [high]
    unused = [size for size in ends if size not in used]
    if not used or (unused and len(used) < len(ends)):
        return unused[:left]
    size = _best(rows, low, high, used) if left else None
    return [] if size is None else [size]


def _best(rows: list[Row], low: int, high: int, used: set[int]) -> int | None:
    """Return the candidate in the middle of the widest interval, or of the widest gap if no curve falls."""
    steps = np.geomspace(low, high, max(2, round(_DENSITY * math.log2(high / low)) + 1))
    candidates = sorted({round(float(step)) for step in steps} - used)
    if not candidates:
        return None
    known = sorted({math.log(size) for size in used})
    widest, middle = 0.0, None
    for method, curve in _curves(rows):
        if found := _interval(method, curve):
            # a size in training will cut the interval; the larger part counts
            training = [x for x in known if x not in {math.log(size) for size, _ in curve}]
            ends = [found[0], *(x for x in training if found[0] < x < found[1]), found[1]]
            length, start = max((b - a, a) for a, b in pairwise(ends))
            if length > widest:
                widest, middle = length, start + length / 2
    if middle is None:
        return max(candidates, key=lambda size: (min(abs(math.log(size) - x) for x in known), -size))
    return min(candidates, key=lambda size: (abs(math.log(size) - middle), size))


def _curves(rows: list[Row]) -> Iterator[tuple[str, dict[Run, Interval]]]:
    """Yield the gap of recovery and the entropy on train rows of each backbone, by size and seed."""
    for reading in parse(rows):
        if reading.levels:
            t = reference(reading.levels)
            train, test, entropy = (
                {run: point.interval for run, point in reading.points.get((*place, t), {}).items()}
                for place in (("recovery", "train"), ("recovery", "test"), ("entropy", "train"))
            )
            yield "recovery", {run: difference_interval(train[run], test[run]) for run in train.keys() & test.keys()}
            yield "entropy", entropy


def _interval(method: str, curve: dict[Run, Interval]) -> tuple[float, float] | None:
    """Return the range of ln N of N_half; None with fewer than two sizes, or if the curve does not fall."""
    panel = Panel({(method, *run): interval for run, interval in curve.items()}, {})
    sizes = panel.sizes(method)
    if len(sizes) < 2:
        return None
    quantity = QUANTITIES[method]
    sign = -1.0 if quantity.rising else 1.0
    means_KN = np.array([panel.weights({method: sign}, size).mean(0) for size in sizes])
    y_BK = panel.replicates(_REPLICATES) @ means_KN.T
    if np.mean(y_BK[:, 0] <= y_BK[:, -1]) > 0.025:
        return None
    x_K = np.log(np.array(sizes, float))
    found = half_way(x_K, y_BK, quantity.ends_at_zero, shapes(_REPLICATES))
    ends = np.quantile(np.clip([found.low_M, found.high_M], x_K[0], x_K[-1]), [0.025, 0.975], axis=1)
    return float(ends[0, 0]), float(ends[1, 1])
