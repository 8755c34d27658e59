"""What a sweep measured, by backbone, size, seed, split and t: the last step of every run."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean

import numpy as np

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.tables import number, of_main_chain
from uddm_lightning.stats.intervals import Interval, linear_interval, seeds_interval

VALUES = {
    "trajectory": "entropy",
    "basin": "critical_t",
    "nelbo_extrapolated": "nelbo",
}  # columns of the kinds that are not called like theirs
LABELS = ("memorized", "spurious", "novel")  # of samples
REFERENCE = 0.1  # the t at which the regimes are told, where it was measured


@dataclass(frozen=True)
class Point:
    """One measurement.

    Args:
        size: rows in the training subset.
        seed: seed of the run.
        value: what was measured.
        low: lower end of its 95 % interval, if there is one.
        high: upper end.
        row: the row of the table it comes from; empty for a difference.
    """

    size: int
    seed: int
    value: float
    low: float | None
    high: float | None
    row: Mapping[str, str] = field(repr=False, compare=False)

    def number(self, column: str) -> float | None:
        """Another column of the row."""
        return number(self.row.get(column))


@dataclass(frozen=True)
class Mean:
    """The mean over the seeds of one size.

    Args:
        size: rows in the training subset.
        value: mean over seeds.
        low: lower end of its 95 % interval: with one seed that of the run, over the sampling of rows and noise; with S
            seeds Student's t with S - 1 degrees of freedom on their values, so that training varies, too.
        high: upper end.
        points: the seeds; empty for what transition.json gives.
    """

    size: int
    value: float
    low: float | None
    high: float | None
    points: tuple[Point, ...]

    def number(self, column: str) -> float | None:
        """Mean of another column over the seeds; None where no seed has it."""
        known = [value for point in self.points if (value := point.number(column)) is not None]
        return fmean(known) if known else None

    @property
    def chance(self) -> float | None:
        """What the exact unigram posterior restores, without looking at the rest of the row."""
        return self.number("chance")

    @property
    def coincidence(self) -> float | None:
        """What a chain restores that overwrites a row with unrelated text."""
        return self.number("coincidence")


_NUMBERS = (
    *("generative_perplexity", "novel_perplexity", "unigram_entropy"),
    *("nearest_distance", "nearest_overlap", "train_overlap"),
)
_OF_SAMPLES = (*LABELS, *_NUMBERS)
_LIMITS = {  # what an interval over seeds must not leave
    **dict.fromkeys(("recovery", "basin", "clean_change_rate", "errors_before", "errors_after", *LABELS), (0.0, 1.0)),
    **dict.fromkeys(("entropy", "self_token_influence", *_NUMBERS), (0.0, math.inf)),
}


class Study:
    """The measurements that a report is about.

    As for the transition, the last step counts, with averaged weights where they were measured, and of each
    measurement one chain (see `of_main_chain`); a run that ended before the others of its backbone is left out.

    Args:
        rows: all rows of the tables, every field as text.

    Attributes:
        rows: those of the models.
        by_chain: recovery of all chains, the main one among them.
        parameters: of each model, by name, ascending.
        backbones: names of the models.
        oracles: names of the backbones that nobody trains, which models are compared with; models, where nothing else
            was measured.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        rows = [row for row in rows if row.get("train_size") and row.get("run")]
        names = sorted({row["backbone"] for row in rows})
        final = [_final([row for row in rows if row["backbone"] == name]) for name in names]
        rows = [row for mine in final for row in of_main_chain(mine)]
        self.by_chain = [row for mine in final for row in mine if row["metric"] == "recovery"]
        self._points = _points(rows)
        self.rows = [row for row in rows if row.get("parameters") != "0"] or rows
        self.oracles = sorted(set(names) - {row["backbone"] for row in self.rows})
        parameters = {row["backbone"]: int(number(row.get("parameters")) or 0) for row in self.rows}
        self.parameters = dict(sorted(parameters.items(), key=lambda item: (item[1], item[0])))
        self.backbones = list(self.parameters)
        self.sizes = sorted({int(row["train_size"]) for row in self.rows})
        self.seeds = sorted({int(row["seed"]) for row in self.rows})
        times = self.times("recovery") or self.times("entropy")
        self.reference = min(times, key=lambda t: (abs(math.log(max(t, 1e-9) / REFERENCE)), t)) if times else None

    def times(self, kind: str) -> list[float]:
        """Every t at which `kind` was measured, ascending."""
        return sorted({float(row["t"]) for row in self.rows if row["metric"] == kind and row["t"]})

    def points(self, kind: str, backbone: str, split: str, t: float | None = None) -> list[Point]:
        """Measurements of a kind, by size and seed.

        Args:
            kind: recovery, entropy, nelbo, nelbo_extrapolated, trajectory (whose value is the entropy) or basin (the
                critical t); of samples generative_perplexity, novel_perplexity, unigram_entropy, nearest_distance,
                nearest_overlap, train_overlap, or the share of one of the `LABELS`.
            backbone: name of the model.
            split: train, test, random or samples.
            t: corruption time; None for the NELBO, which has a range instead, and for basins.
        """
        return self._points.get((kind, backbone, split, t), [])

    def column(self, name: str, kind: str, backbone: str, split: str, t: float | None = None) -> list[Mean]:
        """Means of any column of such rows, by size, with intervals where the table has them."""
        points = []
        for point in self.points(kind, backbone, split, t):
            value, low, high = (number(point.row.get(column)) for column in (name, f"{name}_low", f"{name}_high"))
            if value is not None:
                points.append(Point(point.size, point.seed, value, low, high, point.row))
        return [_mean(size, tuple(group), _LIMITS.get(name)) for size, group in _by_size(points)]

    def means(self, kind: str, backbone: str, split: str, t: float | None = None) -> list[Mean]:
        """The same, averaged over seeds, by size."""
        points = self.points(kind, backbone, split, t)
        return [_mean(size, tuple(group), _LIMITS.get(kind)) for size, group in _by_size(points)]

    def mean(self, kind: str, backbone: str, split: str, size: int, t: float | None = None) -> Mean | None:
        """The mean at one size, or None where nothing was measured."""
        return next((mean for mean in self.means(kind, backbone, split, t) if mean.size == size), None)

    def entropy_gaps(self, backbone: str, t: float | None) -> list[Mean]:
        """Entropy of own samples minus that of train rows, which are other rows, by size.

        Intervals are those of a `Panel`, from which transition.json has the gaps between train and test rows
        (`Verdict.gaps`); no rows are shared here.
        """
        signs = {"samples": 1.0, "train": -1.0}
        sides = {(split, p.size, p.seed): p for split in signs for p in self.points("entropy", backbone, split, t)}
        panel = Panel({cell: _interval(point) for cell, point in sides.items()}, {})
        gaps = []
        for size in panel.sizes(*signs):
            weights_SN = panel.weights(signs, size)
            each = zip(panel.seeds(size, *signs), map(panel.sum, weights_SN), strict=True)
            points = tuple(Point(size, seed, one.value, number(one.low), number(one.high), {}) for seed, one in each)
            value, low, high = panel.mean(weights_SN)
            gaps.append(Mean(size, value, number(low), number(high), points))
        return gaps

    def ranges(self, kind: str = "nelbo") -> list[str]:
        """The ranges of t over which the NELBO was measured, or the `nelbo_extrapolated`."""
        rows = [row for row in self.rows if row["metric"] == kind and row.get("t_min") and row.get("t_max")]
        return sorted({f"[{float(row['t_min']):g}, {float(row['t_max']):g}]" for row in rows})

    def values(self, column: str, kind: str | None = None) -> list[str]:
        """The distinct entries of a column, numbers in their order."""
        found = {row.get(column) or "" for row in self.rows if kind is None or row["metric"] == kind} - {""}
        return sorted(found, key=lambda text: (number(text) is None, number(text) or 0.0, text))


def nearest(sizes: Sequence[int], size: float) -> int:
    """The size that is nearest on a logarithmic axis."""
    return min(sizes, key=lambda other: (abs(math.log(other) - math.log(size)), other))


def _points(rows: list[Mapping[str, str]]) -> dict[tuple[str, str, str, float | None], list[Point]]:
    """The measurements by kind, backbone, split and t, each list by size and seed; of repeated runs the first."""
    found: dict[tuple[str, str, str, float | None], dict[tuple[int, int], Point]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["run"]):
        size, seed = int(row["train_size"]), int(row["seed"])
        row = {**row, **_shares(row)} if row["metric"] == "samples" else row
        for kind in _OF_SAMPLES if row["metric"] == "samples" else (row["metric"],):
            name = VALUES.get(kind, kind)
            value, low, high = (number(row.get(column)) for column in (name, f"{name}_low", f"{name}_high"))
            if value is not None:
                curve = found[kind, row["backbone"], row["split"], number(row["t"])]
                curve.setdefault((size, seed), Point(size, seed, value, low, high, row))
    return {key: [points[place] for place in sorted(points)] for key, points in found.items()}


def _shares(row: Mapping[str, str]) -> dict[str, str]:
    """Shares of the labels among the samples of a row of the table."""
    counts = {label: number(row.get(f"n_{label}")) for label in LABELS}
    total = sum(count or 0.0 for count in counts.values())
    return {label: str(count / total) for label, count in counts.items() if count is not None and total}


def _final(rows: list[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The rows of one backbone at its last step, of one kind of weights."""
    last = max(int(row["step"]) for row in rows)
    rows = [row for row in rows if int(row["step"]) == last]
    weights = "ema" if any(row["weights"] == "ema" for row in rows) else "raw"
    return [row for row in rows if row["weights"] == weights]


def _interval(point: Point) -> Interval:
    return Interval(point.value, *(math.nan if end is None else end for end in (point.low, point.high)))


def _by_size(points: list[Point]) -> Iterable[tuple[int, Iterable[Point]]]:
    return groupby(points, key=lambda point: point.size)


def _mean(size: int, points: tuple[Point, ...], limits: tuple[float, float] | None = None) -> Mean:
    value = fmean(point.value for point in points)
    known = [
        (point.value, point.low, point.high) for point in points if point.low is not None and point.high is not None
    ]
    if len(known) < len(points):
        return Mean(size, value, None, None, points)
    if len(points) == 1:
        return Mean(size, *known[0], points)
    # held-out rows are the same for every seed, so that their errors do not average out
    shared = np.ones((len(points), len(points))) if points[0].row.get("split") == "test" else None
    bounds_3S = np.array(known).T
    mean = linear_interval([1 / len(points)] * len(points), bounds_3S, shared)
    low, high = seeds_interval(bounds_3S[0], (bounds_3S[2] - bounds_3S[1]) / 2, mean)[1:]
    least, most = limits or (-math.inf, math.inf)
    return Mean(size, value, max(low, least), min(high, most), points)
