"""The crossing of curves that fall from one plateau to another, with a 95 % interval from the profile likelihood.

For each crossing x*, width and form the deviance of the best levels is known in closed form (`linear.py`), so the fit
is the global optimum over the grid; no search can fail. Between the widths the deviance is interpolated by a parabola.
Its minimum over widths and forms is the profile D(x*), and

    { x* : (D(x*) - min D) / phi <= 3.84 }

is the interval (profile likelihood: Bates and Watts, "Nonlinear regression analysis", 1988, section 6.1). phi is 1
unless min D is above the 85 % quantile of chi-square: then runs differ by more than the sampling of sequences, or the
curve is not in the family; min D / df estimates the variance (McCullagh and Nelder, "Generalized linear models", 2nd
ed., section 9.2), and Student's t with df degrees takes the place of the normal quantile, phi = min D / df t^2 / 3.84.
Where the curve falls between two sizes, D is flat between them and the interval is the whole stretch, which neither a
Gaussian approximation nor a percentile bootstrap can find. The estimate is the mean of x* under exp(-D / (2 phi)): the
minimum of a parabola, and the middle of a flat stretch.

Several seeds are averaged at each size. How much the estimate depends on the seeds says the jackknife over them, with
Student's t on S - 1 degrees (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 11). The interval
is the hull of both; a jackknife variance well below that of sampling is an accident of few seeds and is not used.

Shapes: M curves at once, S seeds, K sizes; X, A, W, D as in `shapes`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.intervals import NORMAL, student_t
from uddm_lightning.transition.linear import Line, Pooled, deviances, pool
from uddm_lightning.transition.shapes import Grid, zoom

FLOAT = NDArray[np.float64]
INT = NDArray[np.int64]

THRESHOLD = 3.841459  # 95 % quantile of chi-square with one degree of freedom
_MISFIT = 1.036433  # standard normal quantile of 85 %: a deviance above that of chi-square is a misfit
_SPREAD = 0.7  # variance over seeds that counts, in units of the one from sampling
_FINE = 6  # steps of the grid that an interval must span, else the grid is refined around it
_GOOD = 12.0  # excess of the deviance, in units of phi, up to which a width is kept then
_CHUNK = 32  # curves at once: their designs stay in the cache


class Profile(NamedTuple):
    """Profile of M curves.

    Attributes:
        scale_M: phi.
        least_M: min D / phi, the deviance of the best curve.
        flat_M: D / phi of a curve without any fall.
        estimate_M: x*.
        low_M: lower bound of x*; -inf where even the leftmost design is not excluded.
        high_M: upper bound; inf likewise.
    """

    scale_M: FLOAT
    least_M: FLOAT
    flat_M: FLOAT
    estimate_M: FLOAT
    low_M: FLOAT
    high_M: FLOAT


class Located(NamedTuple):
    """Crossings of M curves.

    Attributes:
        profile: of the curves averaged over seeds; its bounds cover the sampling of sequences only.
        spread_M: standard error of x* from the jackknife over seeds; 0 with one seed.
        low_M: lower bound of x*, sampling and seeds.
        high_M: upper bound.
    """

    profile: Profile
    spread_M: FLOAT
    low_M: FLOAT
    high_M: FLOAT


def profile(pooled: Pooled, grid: Grid, line: Line) -> Profile:
    """Profiles of the crossing.

    Args:
        pooled: M falling curves.
        grid: designs for their sizes.
        line: the linear part of the model.

    Returns:
        The profiles with estimate and bounds.
    """
    parts = []
    for start in range(0, len(pooled.y_MK), _CHUNK):
        part = Pooled(pooled.y_MK[start : start + _CHUNK], pooled.sigma_MK[start : start + _CHUNK])
        deviance_MD, flat_M = deviances(part, grid, line)
        coarse = _profile(part, grid, line, deviance_MD, flat_M)
        for m in np.flatnonzero(coarse.high_M - coarse.low_M < _FINE * (grid.crossing_X[1] - grid.crossing_X[0])):
            one = Pooled(part.y_MK[m : m + 1], part.sigma_MK[m : m + 1])
            fine = _around(deviance_MD[m], grid, float(coarse.low_M[m]), float(coarse.high_M[m]))
            better = _profile(one, fine, line, *deviances(one, fine, line))
            if np.isfinite(better.low_M[0]) and np.isfinite(better.high_M[0]):  # else the part was too small
                for array, value in zip(coarse, better, strict=True):
                    array[m] = value[0]
        parts.append(coarse)
    return Profile(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _around(deviance_D: FLOAT, grid: Grid, low: float, high: float) -> Grid:
    """The part of the grid that holds the good designs, with a margin on each side."""
    least_W = deviance_D.reshape(-1, len(grid.width_W)).min(0)
    good = np.flatnonzero(least_W <= least_W.min() + _GOOD * max(1.0, least_W.min()))
    margin = max(2 * (grid.crossing_X[1] - grid.crossing_X[0]), high - low)
    widths = grid.width_W[max(good[0] - 1, 0)], grid.width_W[min(good[-1] + 1, len(grid.width_W) - 1)]
    return zoom(grid, low - margin, high + margin, float(widths[0]), float(widths[1]))


def _profile(pooled: Pooled, grid: Grid, line: Line, deviance_MD: FLOAT, flat_M: FLOAT) -> Profile:
    shape = (-1, len(grid.crossing_X), len(grid.form_A2), len(grid.width_W))
    deviance_MXAW = deviance_MD.reshape(shape)
    best_MXA = deviance_MXAW.argmin(-1)
    middle_MXA = np.clip(best_MXA, 1, shape[-1] - 2)
    left, centre, right = (np.take_along_axis(deviance_MXAW, middle_MXA[..., None] + i, -1)[..., 0] for i in (-1, 0, 1))
    least_MXA = np.where(best_MXA == middle_MXA, _vertex(left, centre, right), np.minimum(left, right))
    deviance_MX = least_MXA.min(-1)

    place_M1 = np.clip(deviance_MX.argmin(-1), 1, shape[1] - 2)[:, None]
    left, centre, right = (np.take_along_axis(deviance_MX, place_M1 + i, -1)[:, 0] for i in (-1, 0, 1))
    least_M = np.minimum(_vertex(left, centre, right), deviance_MX.min(-1))
    scale_M = _scales(least_M, np.isfinite(pooled.sigma_MK).sum(1) - 3 - line.base)
    excess_MX = (deviance_MX - least_M[:, None]) / scale_M[:, None]
    chance_MX = np.exp(-excess_MX / 2)
    estimate_M = (chance_MX * grid.crossing_X).sum(1) / chance_MX.sum(1)
    low_M, high_M = _bounds(excess_MX, grid.crossing_X)
    return Profile(scale_M, least_M / scale_M, flat_M / scale_M, estimate_M, low_M, high_M)


def _scales(least_M: FLOAT, df_M: INT) -> FLOAT:
    """phi: 1, or the variance of the residuals where these are too large for the standard errors."""
    scale_M = np.ones_like(least_M)
    for df in map(int, np.unique(df_M[df_M > 0])):
        limit = df * (1 - 2 / (9 * df) + _MISFIT * np.sqrt(2 / (9 * df))) ** 3  # Wilson and Hilferty, 1931
        wide_M = (df_M == df) & (least_M > limit)
        scale_M[wide_M] = least_M[wide_M] / df * student_t(df) ** 2 / THRESHOLD
    return scale_M


def _vertex(left: FLOAT, centre: FLOAT, right: FLOAT) -> FLOAT:
    """Least value of the parabola through three equidistant points of which the middle one is lowest."""
    curvature = left + right - 2 * centre
    drop = np.divide((right - left) ** 2, 8 * curvature, out=np.zeros_like(centre), where=curvature > 0)
    lowest: FLOAT = np.maximum(centre - np.where(centre <= np.minimum(left, right), drop, 0.0), 0.0)
    return lowest


def _bounds(excess_MX: FLOAT, crossing_X: FLOAT) -> tuple[FLOAT, FLOAT]:
    """First and last crossing within the threshold; between grid points the root of the excess is linear."""
    inside_MX = excess_MX <= np.maximum(THRESHOLD, excess_MX.min(1, keepdims=True))
    root_MX = np.sqrt(np.maximum(excess_MX, 0.0))
    bounds = []
    for first_M, step in ((inside_MX.argmax(1), -1), (excess_MX.shape[1] - 1 - inside_MX[:, ::-1].argmax(1), 1)):
        outer_M = np.clip(first_M + step, 0, excess_MX.shape[1] - 1)
        r0, r1 = (np.take_along_axis(root_MX, i[:, None], 1)[:, 0] for i in (first_M, outer_M))
        share = np.clip((np.sqrt(THRESHOLD) - r0) / np.maximum(r1 - r0, 1e-12), 0.0, 1.0)
        bound_M = crossing_X[first_M] + share * (crossing_X[outer_M] - crossing_X[first_M])
        bounds.append(np.where(outer_M == first_M, step * np.inf, bound_M))
    return bounds[0], bounds[1]


def locate(y_MSK: FLOAT, sigma_MSK: FLOAT, grid: Grid, line: Line) -> Located:
    """Crossings of M curves that several seeds measured.

    Args:
        y_MSK: values of falling curves.
        sigma_MSK: standard errors; inf where a seed has no measurement.
        grid: designs for the sizes.
        line: the linear part of the model.

    Returns:
        Estimates and bounds.
    """
    whole = profile(pool(y_MSK, sigma_MSK), grid, line)
    seeds = y_MSK.shape[1]
    if seeds == 1:
        return Located(whole, np.zeros(len(y_MSK)), whole.low_M, whole.high_M)
    without = [np.delete(np.arange(seeds), seed) for seed in range(seeds)]
    estimate_SM = np.stack(
        [profile(pool(y_MSK[:, rest], sigma_MSK[:, rest]), grid, line).estimate_M for rest in without]
    )
    spread_M = np.sqrt((seeds - 1) * estimate_SM.var(0))
    sampling_M = (whole.high_M - whole.low_M) / (2 * NORMAL)
    half_M = np.where(spread_M**2 > _SPREAD * sampling_M**2, student_t(seeds - 1) * spread_M, 0.0)
    low_M = np.minimum(whole.low_M, whole.estimate_M - half_M)
    return Located(whole, spread_M, low_M, np.maximum(whole.high_M, whole.estimate_M + half_M))
