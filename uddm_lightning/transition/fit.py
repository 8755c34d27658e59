"""The crossing of one measured curve, or the reason why there is none."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.transition.crossing import locate
from uddm_lightning.transition.curves import Point
from uddm_lightning.transition.linear import Line, deviances, heights, pool
from uddm_lightning.transition.shapes import fallen, grid, zoom

FLOAT = NDArray[np.float64]

FLAT = "flat"  # how the reason of a curve without a fall begins; whoever knows its meaning says more
ONSET = 0.05  # share of the way that is gone at the onset
_SIZES = 3  # with fewer there is no fall between two plateaus
_GAIN = 16.27  # 99.9 % quantile of chi-square with 3 degrees: crossing, width and height of the fall
_BACK = 0.25  # how far a curve may go back, in ranges of the curve, beyond _SURE standard errors
_SURE = 3.0


class Fit(NamedTuple):
    """One curve fitted: y(N) = floor + (plateau - floor) s(ln N) for a falling one.

    Attributes:
        size: N*; None where the data do not support one, and then everything below but `reason` and `level`.
        low: lower bound of the 95 % interval.
        high: upper bound.
        spread: standard error of ln N* over seeds; 0 with one seed.
        plateau: level at small sizes.
        floor: level at large sizes.
        width: w, in units of ln N.
        kappa: asymmetry.
        tail: weight of the cubic term.
        onset: size at which 5 % of the way is gone.
        reason: why `size` is None.
        level: weighted mean of the curve.
    """

    size: float | None
    low: float | None
    high: float | None
    spread: float | None
    plateau: float | None
    floor: float | None
    width: float | None
    kappa: float | None
    tail: float | None
    onset: float | None
    reason: str | None
    level: float | None


class Means(NamedTuple):
    """A curve averaged over its seeds.

    Attributes:
        sizes: the distinct sizes, ascending.
        y_K: values.
        sigma_K: standard errors from the sampling of sequences.
    """

    sizes: list[int]
    y_K: FLOAT
    sigma_K: FLOAT


def arrays(points: Sequence[Point]) -> tuple[list[int], FLOAT, FLOAT]:
    """Sizes, values (1, S, K) and standard errors (1, S, K), inf where a seed lacks a size."""
    sizes = sorted({point.size for point in points})
    seeds = sorted({point.seed for point in points})
    y_SK, sigma_SK = np.zeros((len(seeds), len(sizes))), np.full((len(seeds), len(sizes)), np.inf)
    for point in points:
        cell = seeds.index(point.seed), sizes.index(point.size)
        y_SK[cell], sigma_SK[cell] = point.value, point.sigma
    return sizes, y_SK[None], sigma_SK[None]


def means(points: Sequence[Point]) -> Means:
    """Averages a curve over its seeds.

    Args:
        points: at least one point.

    Returns:
        Sizes, values and standard errors.
    """
    sizes, y_1SK, sigma_1SK = arrays(points)
    pooled = pool(y_1SK, sigma_1SK)
    return Means(sizes, pooled.y_MK[0], pooled.sigma_MK[0])


def fit_curve(points: Sequence[Point], rising: bool, line: Line) -> Fit:
    """Fits a curve that falls, or rises, from one plateau to another.

    Args:
        points: the measurements.
        rising: whether it should rise with the size.
        line: which levels are possible; a rising curve needs a free base.

    Returns:
        The fit, or the reason why there is none.
    """
    sizes, y_1SK, sigma_1SK = arrays(points)
    if len(sizes) < _SIZES:
        return _nothing(
            f"only {len(sizes)} size{'s were' if len(sizes) != 1 else ' was'} measured, {_SIZES} are needed"
        )
    y_1SK = -y_1SK if rising else y_1SK
    pooled = pool(y_1SK, sigma_1SK)
    y_K, sigma_K = pooled.y_MK[0], pooled.sigma_MK[0]
    weight_K = sigma_K**-2.0
    mean = float((weight_K * y_K).sum() / weight_K.sum())
    level = -mean if rising else mean
    back = _furthest_back(y_K, sigma_K)
    if back is not None:
        way = "falls" if rising else "rises"
        return _nothing(f"contradictory: the curve {way} from size {sizes[back[0]]} to size {sizes[back[1]]}", level)

    x_K = np.log(np.array(sizes, float))
    designs = grid(x_K)
    found = locate(y_1SK, sigma_1SK, designs, line)
    if float((weight_K * (y_K - mean) ** 2).sum()) / found.profile.scale_M[0] - found.profile.least_M[0] < _GAIN:
        return _nothing(f"{FLAT}: the curve does not {'rise' if rising else 'fall'} clearly above its noise", level)
    estimate, low, high = (float(v[0]) for v in (found.profile.estimate_M, found.low_M, found.high_M))
    if low < x_K[0] or high > x_K[-1]:
        ends = ["below the smallest"] * bool(low < x_K[0]) + ["above the largest"] * bool(high > x_K[-1])
        return _nothing(f"not bracketed: N* may lie {' or '.join(ends)} size measured", level)

    # the best curve among those that cross at the estimate
    widths = float(designs.width_W[0]), float(designs.width_W[-1])
    here = zoom(designs, estimate, estimate, *widths, counts=(1, 96))
    best = int(deviances(pooled, here, line)[0][0].argmin())
    kappa, tail = (float(v) for v in here.form_A2[best // 96])
    width = float(here.width_W[best % 96])
    floor, height = (float(v[0, best]) for v in heights(pooled, here, line))
    sign = -1.0 if rising else 1.0
    onset = fallen(ONSET, estimate, width, kappa, tail)
    return Fit(
        size=math.exp(estimate),
        low=math.exp(low),
        high=math.exp(high),
        spread=float(found.spread_M[0]),
        plateau=sign * (floor + height),
        floor=sign * floor,
        width=width,
        kappa=kappa,
        tail=tail,
        onset=math.exp(onset) if onset >= x_K[0] else None,
        reason=None,
        level=level,
    )


def _nothing(reason: str, level: float | None = None) -> Fit:
    return Fit(None, None, None, None, None, None, None, None, None, None, reason, level)


def _furthest_back(y_K: FLOAT, sigma_K: FLOAT) -> tuple[int, int] | None:
    """Indices of the two sizes between which a falling curve rises most, if that is too much."""
    rise_KK = np.triu(y_K[None, :] - y_K[:, None] - _SURE * np.hypot(sigma_K[None, :], sigma_K[:, None]), 1)
    first, second = np.unravel_index(int(rise_KK.argmax()), rise_KK.shape)
    return (int(first), int(second)) if rise_KK[first, second] > _BACK * np.ptp(y_K) else None
