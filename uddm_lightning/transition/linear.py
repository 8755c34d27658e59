"""The levels of a curve y = b + a s(x), by weighted least squares for every design at once.

With weights w_k = 1 / sigma_k^2 and means taken with these weights,

    a = sum w (s - s_mean) (y - y_mean) / sum w (s - s_mean)^2,    b = y_mean - a s_mean,
    deviance = sum w (y - b - a s)^2,

a kept within [0, cap]; without a base b = 0 and the means are 0.

Shapes: M curves at once, S seeds, K sizes, D designs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.transition.shapes import Grid

FLOAT = NDArray[np.float64]

FLOOR = 0.005  # least standard error of a point, in ranges of the curve: no curve is exactly in the family


class Line(NamedTuple):
    """The linear part of the model, y = b + a s.

    Attributes:
        base: whether the lower plateau b is free; otherwise it is 0.
        cap: largest height a that is possible.
    """

    base: bool
    cap: float = np.inf


class Pooled(NamedTuple):
    """Curves after averaging over the seeds.

    Attributes:
        y_MK: mean values.
        sigma_MK: their standard errors from the sampling of sequences, not below the floor; inf where nothing was
            measured.
    """

    y_MK: FLOAT
    sigma_MK: FLOAT


def pool(y_MSK: FLOAT, sigma_MSK: FLOAT) -> Pooled:
    """Averages over the seeds that measured a size.

    Args:
        y_MSK: values.
        sigma_MSK: standard errors; inf where a seed has no measurement.

    Returns:
        Means with their standard errors.
    """
    known_MSK = np.isfinite(sigma_MSK)
    count_MK = known_MSK.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):  # sizes without a seed are set below
        y_MK = np.where(known_MSK, y_MSK, 0.0).sum(1) / count_MK
        sigma_MK = np.sqrt((np.where(known_MSK, sigma_MSK, 0.0) ** 2).sum(1)) / count_MK
    empty_MK = count_MK == 0
    range_M1 = np.ptp(np.where(empty_MK, np.nanmin(np.where(empty_MK, np.nan, y_MK), 1, keepdims=True), y_MK), 1)
    least_MK = np.maximum(FLOOR * range_M1[:, None], 1e-12)
    return Pooled(np.where(empty_MK, 0.0, y_MK), np.where(empty_MK, np.inf, np.maximum(sigma_MK, least_MK)))


def deviances(pooled: Pooled, grid: Grid, line: Line) -> tuple[FLOAT, FLOAT]:
    """Deviance of every design.

    Args:
        pooled: M falling curves.
        grid: designs for their sizes.
        line: the linear part of the model.

    Returns:
        The deviances (M, D), and those (M,) of a curve without any fall.
    """
    height_MD, sy_MD, ss_MD = _normal(pooled, grid, line)
    weight_MK = pooled.sigma_MK**-2.0
    yy_M = (weight_MK * (pooled.y_MK - _mean(weight_MK, pooled.y_MK, line)) ** 2).sum(1)
    return np.maximum(yy_M[:, None] - height_MD * (2 * sy_MD - height_MD * ss_MD), 0.0), yy_M


def heights(pooled: Pooled, grid: Grid, line: Line) -> tuple[FLOAT, FLOAT]:
    """Lower plateau b and height a of every design, both (M, D).

    Args:
        pooled: M falling curves.
        grid: designs for their sizes.
        line: the linear part of the model.

    Returns:
        b and a.
    """
    height_MD = _normal(pooled, grid, line)[0]
    weight_MK = pooled.sigma_MK**-2.0
    shape_MD = weight_MK @ grid.shape_DK.T / weight_MK.sum(1, keepdims=True) * line.base
    return _mean(weight_MK, pooled.y_MK, line) - height_MD * shape_MD, height_MD


def _mean(weight_MK: FLOAT, y_MK: FLOAT, line: Line) -> FLOAT:
    """Weighted means (M, 1) where the base is free, else 0."""
    mean_M1: FLOAT = (weight_MK * y_MK).sum(1, keepdims=True) / weight_MK.sum(1, keepdims=True) * line.base
    return mean_M1


def _normal(pooled: Pooled, grid: Grid, line: Line) -> tuple[FLOAT, FLOAT, FLOAT]:
    """Height of every design and the two sums of the normal equation, sum w s y and sum w s^2 about the means."""
    weight_MK = pooled.sigma_MK**-2.0
    total_M1 = weight_MK.sum(1, keepdims=True)
    ss_MD = weight_MK @ (grid.shape_DK**2).T
    sy_MD = (weight_MK * (pooled.y_MK - _mean(weight_MK, pooled.y_MK, line))) @ grid.shape_DK.T
    if line.base:
        ss_MD -= (weight_MK @ grid.shape_DK.T) ** 2 / total_M1
    height_MD = np.divide(sy_MD, ss_MD, out=np.zeros_like(sy_MD), where=ss_MD > 1e-9 * total_M1)
    return np.clip(height_MD, 0.0, line.cap, out=height_MD), sy_MD, ss_MD
