"""Which sizes to train next, so that the interval of N* shrinks fastest."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.transition.curves import Curve, Row, curves
from uddm_lightning.transition.estimate import line
from uddm_lightning.transition.fit import arrays
from uddm_lightning.transition.linear import deviances, heights, pool
from uddm_lightning.transition.shapes import grid

FLOAT = NDArray[np.float64]

FIRST = 2  # sizes of the first round: both ends
_DENSITY = 4  # candidates for each doubling
_BINS = 3.0  # width of what a measurement can tell apart, in its standard errors; chosen by simulation
_METHODS = ("recovery", "entropy")


class _Belief(NamedTuple):
    """What a curve says about N*, over the designs that are still possible.

    Attributes:
        chance_D: probability of each design, for equal chances beforehand on the grid of ln N*, ln w and form.
        crossing_D: ln N* of each.
        value_DC: what each expects at the candidates.
        sigma: standard error that a further measurement will have.
    """

    chance_D: FLOAT
    crossing_D: FLOAT
    value_DC: FLOAT
    sigma: float


def next_sizes(
    rows: Iterable[Row], low: int, high: int, budget: int, taken: Iterable[int] = (), count: int = 1
) -> list[int]:
    """The sizes to train next.

    The first round are both ends of the range. Afterwards each further size is the one for
    which the standard deviation of ln N*, given what is measured, is expected to be smallest once it is measured too:
    for every candidate the possible curves are sorted by the value that they predict there, curves that differ by less
    than the noise stay together, and their ln N* vary by so much. Recovery and entropy at the t nearest to 0.1 of all
    backbones count alike. The answer depends on nothing but the arguments.

    Args:
        rows: rows of the sweep's table so far.
        low: smallest size of interest.
        high: largest size of interest.
        budget: how many sizes are to be trained in all, those in `rows` and `taken` included.
        taken: sizes that have been started, whether or not they are in `rows`; they are not proposed again.
        count: how many sizes to propose at most after the first round.

    Returns:
        Sizes in ascending order; empty where the budget is spent or no candidate is left.

    Raises:
        ValueError: if not 1 <= low < high, or `budget` or `count` is below 1.
    """
    rows = list(rows)
    if not 1 <= low < high:
        raise ValueError(f"`low` and `high` must satisfy 1 <= low < high, got {low} and {high}.")
    if budget < 1 or count < 1:
        raise ValueError(f"`budget` and `count` must be at least 1, got {budget} and {count}.")
    used = {*taken, *(int(row["size"]) for row in rows)}
    left = budget - len(used)
    first = _spread(low, high, min(FIRST, budget))
    open_ = [size for size in first if size not in used]
    if not used or (open_ and len(used) < len(first)):
        return sorted(open_[:left] if left > 0 else [])
    chosen: list[int] = []
    for _ in range(min(count, max(left, 0))):
        size = _best(rows, low, high, used | set(chosen))
        if size is None:
            break
        chosen.append(size)
    return sorted(chosen)


def _spread(low: int, high: int, count: int) -> list[int]:
    """Sizes in equal ratios: both ends and what lies between; the largest alone if there is one only."""
    if count == 1:
        return [high]
    return sorted({round(size) for size in np.geomspace(low, high, count)})


def _best(rows: list[Row], low: int, high: int, used: set[int]) -> int | None:
    """The candidate after which N* is expected to be known best; the middle of the widest hole without any curve."""
    steps = np.geomspace(low, high, max(2, round(_DENSITY * math.log2(high / low)) + 1))
    candidates = sorted({round(step) for step in steps} - used)
    if not candidates:
        return None
    beliefs = [
        belief
        for curve in curves(rows, reference_only=True)
        if curve.method in _METHODS and (belief := _belief(curve, candidates)) is not None
    ]
    if not beliefs:
        distance = [min(abs(math.log(size / other)) for other in used) for size in candidates]
        widest: int = candidates[int(np.argmax(distance))]
        return widest
    score_C = sum(np.log(_expected_spread(belief)) for belief in beliefs)
    # a size beside another that is on its way tells what that one will tell
    pending = used - {int(row["size"]) for row in rows}
    score_C = np.array(score_C)
    for other in pending:
        score_C[np.abs(np.log(np.array(candidates) / other)) < math.log(2.0) / 2] = np.inf
    best: int = candidates[int(np.argmin(score_C))]
    return best


def _belief(curve: Curve, candidates: list[int]) -> _Belief | None:
    """What is known of a curve; None with fewer than two sizes, or where all values are equal."""
    sizes, y_1SK, sigma_1SK = arrays(curve.points)
    if len(sizes) < 2:
        return None
    pooled = pool(-y_1SK if curve.method.startswith("entropy") else y_1SK, sigma_1SK)
    if not np.ptp(pooled.y_MK) > 0:
        return None
    designs, levels = grid(np.log(np.array(sizes, float))), line(curve.method)
    deviance_D = deviances(pooled, designs, levels)[0][0]
    chance_D = np.exp(-(deviance_D - deviance_D.min()) / 2)
    kept = chance_D > 1e-4
    chance_D = chance_D[kept] / chance_D[kept].sum()
    crossing_D = np.repeat(designs.crossing_X, len(deviance_D) // len(designs.crossing_X))[kept]
    base_D, height_D = (v[0][kept] for v in heights(pooled, designs, levels))
    shape_DC = designs.at(np.log(np.array(candidates, float)))[kept]
    value_DC = base_D[:, None] + height_D[:, None] * shape_DC
    return _Belief(chance_D, crossing_D, value_DC, float(np.median(pooled.sigma_MK)))


def _expected_spread(belief: _Belief) -> FLOAT:
    """Expected standard deviation of ln N* after a measurement at each candidate, shape (C,)."""
    spread_C = np.empty(belief.value_DC.shape[1])
    for c, value_D in enumerate(belief.value_DC.T):
        bins_D = np.floor((value_D - value_D.min()) / (_BINS * belief.sigma)).astype(np.int64)
        total_B = np.bincount(bins_D, belief.chance_D)
        mean_B = np.bincount(bins_D, belief.chance_D * belief.crossing_D) / np.maximum(total_B, 1e-300)
        square_B = np.bincount(bins_D, belief.chance_D * (belief.crossing_D - mean_B[bins_D]) ** 2)
        spread_C[c] = np.sqrt(total_B * square_B).sum()  # sum of chance times deviation
    return np.maximum(spread_C, 1e-9)
