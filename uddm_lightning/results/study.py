"""The measurements of a report: means over seeds, by backbone, size, split and t."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uddm_lightning.results.declarations import NONE, Declaration, Declarations
from uddm_lightning.results.panel import Panel, correlation
from uddm_lightning.results.parsed import ParsedTable, Point, parse, point
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import Record, number
from uddm_lightning.results.units import Place, Units, read_units
from uddm_lightning.stats.intervals import linear_interval, seeds_interval

LABELS = ("memorized", "spurious", "novel")  # of samples
SPLITS = ("train", "test", "samples", "random")


@dataclass(frozen=True)
class Mean:
    """The mean over the seeds of one size.

    Args:
        size: rows in the training subset.
        value: mean over seeds.
        low: lower end of its 95 % interval. With one seed it is the interval of the run, over the sampling of rows and
            noise; with S seeds Student's t with S - 1 degrees of freedom, which includes the variation of training.
        high: upper end.
        points: the seeds; empty for values of transition.json.
    """

    size: int
    value: float
    low: float | None
    high: float | None
    points: tuple[Point, ...]

    def number(self, column: str) -> float | None:
        """Return the mean of another column over the seeds; None if no seed has it."""
        known = [value for point in self.points if (value := point.number(column)) is not None]
        return fmean(known) if known else None


class Study:
    """The measurements of a report.

    Rows are chosen as for the transition (see `parse`).

    Args:
        rows: all rows of the tables, every field as text.
        declared: declarations of the columns; intervals over seeds are limited to their ranges.
        draws: the sweep's rows.parquet, which gives the correlation of errors between seeds. Without it, errors on test
            rows are taken to be equal for all seeds, and errors on other rows independent.

    Attributes:
        tables: the rows by backbone, oracles included.
        rows: those of the models.
        by_chain: recovery of all chains, including the main one.
        parameters: number of parameters of each model, by name, ascending.
        backbones: names of the models.
        oracles: names of the backbones without parameters, with which models are compared; if only these were
            measured, they count as models.
        reference: the measured time nearest to t = 0.1, of recovery or else of entropy; None without both.
    """

    def __init__(
        self, rows: Iterable[Mapping[str, str]], declared: Declarations = NONE, draws: pa.Table | None = None
    ) -> None:
        tables = parse(row for row in rows if row.get("train_size") and row.get("run"))
        self.tables: dict[str, ParsedTable] = {table.backbone: table for table in tables}
        self.declared = declared
        self._draws = draws
        self.by_chain = [row for table in tables for row in table.all_chains if row["metric"] == "recovery"]
        every = [row for table in tables for row in table.rows]
        self.rows = [row for row in every if row.get("parameters") != "0"] or every
        self.oracles = sorted(set(self.tables) - {row["backbone"] for row in self.rows})
        parameters = {row["backbone"]: int(number(row.get("parameters")) or 0) for row in self.rows}
        self.parameters = dict(sorted(parameters.items(), key=lambda item: (item[1], item[0])))
        self.backbones = list(self.parameters)
        self.sizes = sorted({int(row["train_size"]) for row in self.rows})
        self.seeds = sorted({int(row["seed"]) for row in self.rows})
        times = self.times("recovery") or self.times("entropy")
        self.reference = reference(times) if times else None

    def times(self, metric: str) -> list[float]:
        """Return every t at which a metric was measured, ascending."""
        return sorted({float(row["t"]) for row in self.rows if row["metric"] == metric and row["t"]})

    def points(self, column: str, metric: str, backbone: str, split: str, t: float | None = None) -> list[Point]:
        """Return the values of a column, by size and seed.

        Args:
            column: of measurements.csv; or one of the `LABELS`, for its share of the samples.
            metric: entry of the column `metric`.
            backbone: name of the model.
            split: train, test, random or samples.
            t: corruption time; None for a metric without one.
        """
        cells = self.tables[backbone].cells.get((metric, split, t), {}) if backbone in self.tables else {}
        rows = [cells[cell] for cell in sorted(cells)]
        if column in LABELS:
            rows = [{**row, **_shares(row)} for row in rows]
        return [found for row in rows if (found := point(row, column))]

    def column(self, column: str, metric: str, backbone: str, split: str, t: float | None = None) -> list[Mean]:
        """Return the means of a column over seeds, by size; see `points`."""
        points = self.points(column, metric, backbone, split, t)
        limits = (0.0, 1.0) if column in LABELS else self.declared.limits(column)
        by_size = groupby(points, key=lambda point: point.size)
        return [self._mean(size, tuple(group), limits) for size, group in by_size]

    def means(self, metric: str, backbone: str, split: str, t: float | None = None) -> list[Mean]:
        """Return the means of the column that has the metric's name."""
        return self.column(metric, metric, backbone, split, t)

    def mean(self, metric: str, backbone: str, split: str, size: int, t: float | None = None) -> Mean | None:
        """Return the mean of the column that has the metric's name at one size; None if it is empty."""
        return next((mean for mean in self.means(metric, backbone, split, t) if mean.size == size), None)

    def curves(self, declared: Declaration, backbone: str) -> dict[tuple[str, str, float | None], list[Mean]]:
        """Return the means of the column that a probe draws, by column, split and t."""
        metric, figure = declared.metrics[0], declared.figure
        column = (figure.column if figure else "") or declared.columns[0].name
        return {
            (column, split, t): means
            for split in SPLITS
            for t in (*self.times(metric), None)
            if (means := self.column(column, metric, backbone, split, t))
        }

    def entropy_gaps(self, backbone: str, t: float | None) -> list[Mean]:
        """Return the entropy of own samples minus that of train rows, by size.

        transition.json has the gaps between train and test rows (`Estimates.gaps`).
        """
        signs = {"samples": 1.0, "train": -1.0}
        sides = {
            (split, p.size, p.seed): p for split in signs for p in self.points("entropy", "entropy", backbone, split, t)
        }
        panel = Panel({cell: found.interval for cell, found in sides.items()}, {})  # the splits share no rows
        gaps = []
        for size in panel.sizes(*signs):
            weights_SN = panel.weights(signs, size)
            points = tuple(
                Point(size, seed, one.value, number(one.low), number(one.high))
                for seed, one in zip(panel.seeds(size, *signs), map(panel.sum, weights_SN), strict=True)
            )
            value, low, high = panel.mean(weights_SN)
            gaps.append(Mean(size, value, number(low), number(high), points))
        return gaps

    def rows_behind(self, table: pa.Table | None, metric: str, backbone: str) -> list[Record]:
        """Return the rows of a parquet table behind the values of a metric, of the lowest seed that has any.

        Args:
            table: sequences.parquet or basins.parquet of a sweep, if there is one.
            metric: entry of the column `metric`.
            backbone: name of the model.
        """
        if table is None:
            return []
        names = ("run", "step", "weights", "split", "sampler", "sampler_steps")
        mine = [row for row in self.rows if (row["metric"], row["backbone"]) == (metric, backbone)]
        measured = {tuple(row[name] for name in names) for row in mine}
        keys = zip(*(table[name].cast(pa.string()).to_pylist() for name in names), strict=True)
        found = table.filter(pa.array([key in measured for key in keys], pa.bool_()))
        first: list[Record] = found.filter(pc.equal(found["seed"], pc.min(found["seed"]))).to_pylist()
        return first

    def ranges(self, metric: str = "nelbo") -> list[str]:
        """Return the ranges of t over which the NELBO was measured, or `nelbo_extrapolated`."""
        rows = [row for row in self.rows if row["metric"] == metric and row.get("t_min") and row.get("t_max")]
        return sorted({f"[{float(row['t_min']):g}, {float(row['t_max']):g}]" for row in rows})

    def values(self, column: str, metric: str | None = None) -> list[str]:
        """Return the distinct entries of a column, numbers in their order."""
        found = {row.get(column) or "" for row in self.rows if metric is None or row["metric"] == metric} - {""}
        return sorted(found, key=lambda text: (number(text) is None, number(text) or 0.0, text))

    @cached_property
    def _units(self) -> dict[str, dict[Place, Units]]:
        """Sums over units of error, by backbone."""
        if self._draws is None:
            return {}
        return {name: read_units(self._draws, table.rows) for name, table in self.tables.items()}

    def _mean(self, size: int, points: tuple[Point, ...], limits: tuple[float, float]) -> Mean:
        value = fmean(point.value for point in points)
        if any(point.low is None or point.high is None for point in points):
            return Mean(size, value, None, None, points)
        if len(points) == 1:
            return Mean(size, value, points[0].low, points[0].high, points)
        bounds_3S = np.array([point.interval for point in points]).T
        mean = linear_interval([1 / len(points)] * len(points), bounds_3S, self._correlation(points))
        low, high = seeds_interval(bounds_3S[0], (bounds_3S[2] - bounds_3S[1]) / 2, mean)[1:]
        return Mean(size, value, max(low, limits[0]), min(high, limits[1]), points)

    def _correlation(self, points: Sequence[Point]) -> NDArray[np.float64] | None:
        """Return the correlation of the errors of several seeds (S, S); None if they are independent."""
        row = points[0].row
        known = self._units.get(row.get("backbone", ""), {})
        place = row.get("metric", ""), row.get("split", ""), number(row.get("t"))
        units = [known.get((*place, point.size, point.seed)) for point in points]
        if all(one is not None for one in units):
            return correlation(units, [place[1]] * len(points))
        return np.ones((len(points), len(points))) if place[1] == "test" else None


def nearest(sizes: Sequence[int], size: float) -> int:
    """Return the size that is nearest on a logarithmic axis."""
    return min(sizes, key=lambda other: (abs(math.log(other) - math.log(size)), other))


def _shares(row: Mapping[str, str]) -> dict[str, str]:
    """Return the shares of the labels among the samples of a row of the table."""
    counts = {label: number(row.get(f"n_{label}")) for label in LABELS}
    total = sum(count or 0.0 for count in counts.values())
    return {label: str(count / total) for label, count in counts.items() if count is not None and total}
