"""Joint errors of measurements that share rows, and intervals of functions of these measurements.

Test rows and their noise are the same at every size of a sweep, and train rows are the same from some size on. The
errors of measurements are therefore correlated. The correlation is that of a bootstrap over units of error in which a
unit has the same weight in all measurements. Its covariance has a closed form: with e_u the influence of unit u on a
measured ratio, two ratios have the covariance sum_u e_u e'_u over the units that they share. This is the infinitesimal
jackknife, the limit of the bootstrap for many replicates and units (Efron, "The jackknife, the bootstrap and other
resampling plans", 1982, chapter 6); over documents it is the sandwich estimator with clusters. The width of an error
comes from the interval of the single measurement (`intervals`). That interval also holds for few units and few events,
for which a bootstrap finds no variance.

* Weighted sums (a gap, a difference of sizes, a slope) have an interval in closed form: `linear_interval`.
* Other functions (the half-way point of a curve) are computed for many replicates of all measurements: normal variables
  with these correlations, scaled to the lower or the upper half of each interval.
* Seeds enter by Student's t on the value of each seed: `seeds_interval`.

Shapes: N measurements, B replicates, S seeds.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.results.units import Units
from uddm_lightning.stats.intervals import NORMAL, Interval, linear_interval, seeds_interval

FLOAT = NDArray[np.float64]
Cell = tuple[str, int, int]  # split, size, seed


class Panel:
    """Measurements of one quantity at one noise level, of all splits, sizes and seeds.

    Args:
        intervals: estimate and bounds of each cell, from the table.
        units: sums over units; a cell without units is taken to be independent of all others.
    """

    def __init__(self, intervals: Mapping[Cell, Interval], units: Mapping[Cell, Units]) -> None:
        self.cells = sorted(intervals)
        self.place = {cell: place for place, cell in enumerate(self.cells)}
        self.units = {cell: units[cell] for cell in self.cells if cell in units}
        self.bounds_3N = np.array([intervals[cell] for cell in self.cells], np.float64).reshape(-1, 3).T

    @cached_property
    def correlation_NN(self) -> FLOAT:
        """Correlation of the errors."""
        return correlation([self.units.get(cell) for cell in self.cells], [cell[0] for cell in self.cells])

    def sizes(self, *splits: str) -> list[int]:
        """Return the sizes at which at least one seed has all splits, ascending."""
        return sorted({size for split, size, seed in self.cells if self.seeds(size, *splits)})

    def seeds(self, size: int, *splits: str) -> list[int]:
        """Return the seeds that have all splits at a size, ascending."""
        found = [{seed for other, n, seed in self.cells if (other, n) == (split, size)} for split in splits]
        return sorted(set.intersection(*found)) if found else []

    def weights(self, signs: Mapping[str, float], size: int) -> FLOAT:
        """Return weights (S, N), a row for each seed, of the sum over splits with these signs at a size."""
        seeds = self.seeds(size, *signs)
        weights_SN = np.zeros((len(seeds), len(self.cells)))
        for s, seed in enumerate(seeds):
            for split, sign in signs.items():
                weights_SN[s, self.place[split, size, seed]] = sign
        return weights_SN

    def mean(self, weights_SN: FLOAT, limits: tuple[float, float] = (-np.inf, np.inf)) -> Interval:
        """Return the mean over seeds of a weighted sum; with several seeds, the interval includes their variation.

        Args:
            weights_SN: see `weights`.
            limits: smallest and largest possible value.
        """
        each = [self.sum(weights_N) for weights_N in weights_SN]
        halves = [(one.high - one.low) / 2 for one in each]
        value, low, high = seeds_interval([one.value for one in each], halves, self.sum(weights_SN.mean(0)))
        return Interval(value, max(low, min(limits[0], value)), min(high, max(limits[1], value)))

    def sum(self, weights_N: FLOAT) -> Interval:
        """Return a weighted sum of the cells, with an interval for these seeds."""
        return linear_interval(weights_N, self.bounds_3N, self.correlation_NN)

    def replicates(self, count: int, seed: int = 0) -> FLOAT:
        """Return random replicates of the measurements, shape (B, N); the same for the same arguments."""
        return replicates(self.bounds_3N, self.correlation_NN, count, seed)


def replicates(bounds_3MN: FLOAT, correlation_MNN: FLOAT, count: int, seed: int = 0) -> FLOAT:
    """Return random replicates of measurements; the second half mirrors the normal variables of the first.

    Args:
        bounds_3MN: estimates and bounds, with any leading dimensions M.
        correlation_MNN: correlation of their errors.
        count: number of replicates.
        seed: number of the stream; the same arguments give the same replicates.

    Returns:
        Values (M, B, N).
    """
    value_MN, low_MN, high_MN = bounds_3MN[..., None, :]
    normal_BN = np.random.default_rng([1313, seed]).standard_normal((count // 2, bounds_3MN.shape[-1]))
    share_MN, vectors_MNN = np.linalg.eigh(correlation_MNN)
    root_MNN = np.sqrt(np.maximum(share_MN, 0.0))[..., :, None] * np.swapaxes(vectors_MNN, -1, -2)
    normal_MBN = np.concatenate([normal_BN, -normal_BN]) @ root_MNN
    side_MBN = np.where(normal_MBN < 0, value_MN - low_MN, high_MN - value_MN)
    result_MBN: FLOAT = value_MN + normal_MBN / NORMAL * side_MBN
    return result_MBN


def correlation(units: Sequence[Units | None], groups: Sequence[str]) -> FLOAT:
    """Return the correlation of the errors of ratios that share units.

    Args:
        units: units of each ratio; None if they are not known.
        groups: group of each ratio. Ratios of different groups share no units, even if unit numbers are equal.

    Returns:
        The matrix (N, N) with 1 on its diagonal; 0 elsewhere for ratios without units or without variance.
    """
    matrix_NN = np.eye(len(units))
    known = {n: one for n, one in enumerate(units) if one is not None}
    for group in sorted({groups[n] for n in known}):
        mine = [n for n in known if groups[n] == group]
        key_U = np.unique(np.concatenate([known[n].key_U for n in mine]))
        influence_NU = np.zeros((len(mine), len(key_U)))
        for influence_U, n in zip(influence_NU, mine, strict=True):
            influence_U[np.searchsorted(key_U, known[n].key_U)] = known[n].influence_U
        error_N = np.sqrt((influence_NU**2).sum(1))
        influence_NU /= np.where(error_N > 0, error_N, 1.0)[:, None]
        part_NN = influence_NU @ influence_NU.T
        np.fill_diagonal(part_NN, 1.0)
        matrix_NN[np.ix_(mine, mine)] = part_NN
    return matrix_NN
