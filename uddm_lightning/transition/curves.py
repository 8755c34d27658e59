"""Curves over the training size, read off the table of a sweep."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from uddm_lightning.results.tables import Row, number, of_main_chain
from uddm_lightning.stats.intervals import NORMAL, Interval, difference_interval

METHODS = ("recovery", "entropy", "entropy_samples", "nelbo")
REFERENCE_T = 0.1  # the noise level of the paper's figures


class Point(NamedTuple):
    """One run's value with its 95 % interval.

    Attributes:
        size: rows in the training subset.
        seed: seed of the run.
        value: gap of recovery (a share), entropy [nats] or gap of the NELBO [nats per token].
        low: lower bound, in the unit of `value`.
        high: upper bound.
    """

    size: int
    seed: int
    value: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """Value and bounds."""
        return Interval(self.value, self.low, self.high)

    @property
    def sigma(self) -> float:
        """Standard error that a symmetric interval of this width would have."""
        return (self.high - self.low) / (2 * NORMAL)


class Curve(NamedTuple):
    """One quantity of one backbone over the training size.

    Attributes:
        backbone: name of the backbone.
        method: one of `METHODS`.
        t: noise level; None for the NELBO, which has none.
        points: one for each run that has the measurement, by size and seed.
    """

    backbone: str
    method: str
    t: float | None
    points: tuple[Point, ...]


class ParsedTable(NamedTuple):
    """What a table says of one backbone.

    Attributes:
        backbone: its name.
        parameters: trainable parameters; None where the table does not say.
        rows: rows of the last step of each finished run, of one kind of weights and one chain.
        points: measurements by kind, split and t (None for the NELBO), each by size and seed.
        notes: what was left out and why.
    """

    backbone: str
    parameters: int | None
    rows: list[Row]
    points: dict[tuple[str, str, float | None], dict[tuple[int, int], Point]]
    notes: list[str]

    @property
    def levels(self) -> list[float]:
        """Noise levels [1] that were measured, ascending."""
        return sorted({t for _, _, t in self.points if t is not None})


def curves(rows: Iterable[Row], reference_only: bool = False) -> list[Curve]:
    """Gap of recovery, entropy on train rows and on samples, and gap of the NELBO, each against the training size.

    Of every run only the last step counts, with averaged weights where there are any, and one chain. A run that ended
    before the others of its backbone is left out.

    Args:
        rows: rows as `read_table` returns them.
        reference_only: of the noise levels keep the one nearest to t = 0.1, where the paper looks.

    Returns:
        The curves by backbone, method and t, without the empty ones.
    """
    found: list[Curve] = []
    for reading in read(rows):
        levels = reading.levels
        if reference_only and levels:
            levels = [reference(levels)]
        for t in levels:
            found.append(_curve(reading, "recovery", t, ("recovery", "train"), ("recovery", "test")))
            found.append(_curve(reading, "entropy", t, ("entropy", "train")))
            found.append(_curve(reading, "entropy_samples", t, ("entropy", "samples")))
        found.append(_curve(reading, "nelbo", None, ("nelbo", "test"), ("nelbo", "train")))
    order = {method: place for place, method in enumerate(METHODS)}
    return sorted(
        (curve for curve in found if curve.points),
        key=lambda curve: (curve.backbone, order[curve.method], curve.t or 0.0),
    )


def reference(levels: Iterable[float]) -> float:
    """The noise level nearest to t = 0.1, in ratios.

    Args:
        levels: at least one noise level.

    Returns:
        One of them.
    """
    return min(levels, key=lambda t: (abs(math.log(max(t, 1e-9) / REFERENCE_T)), t))


def read(rows: Iterable[Row]) -> list[ParsedTable]:
    """The measurements of each backbone, and what was left out.

    Args:
        rows: rows as `read_table` returns them.

    Returns:
        One entry for each backbone, by name.
    """
    backbones: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        backbones[row["backbone"]].append(row)
    return [_read_backbone(name, backbones[name]) for name in sorted(backbones)]


def _final(backbone: str, rows: list[Row], notes: list[str]) -> list[Row]:
    """The rows of each finished run at its last step, of one kind of weights and one chain."""
    last: dict[str, int] = {}
    for row in rows:
        last[row["run"]] = max(last.get(row["run"], 0), int(row["step"]))
    final = max(last.values())
    late = {run for run, step in last.items() if step == final}
    notes.extend(
        f"{backbone}: run {run} is left out, it stands at step {last[run]} of {final}."
        for run in sorted(set(last) - late)
    )
    rows = [row for row in rows if row["run"] in late and int(row["step"]) == final]
    weights = "ema" if any(row["weights"] == "ema" for row in rows) else "raw"
    every = {row["metric"] for row in rows}
    rows = [row for row in rows if row["weights"] == weights]
    notes.extend(
        f"{backbone}: {kind} was measured of the raw weights only, other kinds of the averaged ones; it is left out."
        for kind in sorted(every - {row["metric"] for row in rows})
    )
    main = of_main_chain(rows)
    chains, used = ({row["sampler"] for row in some if row["metric"] == "recovery"} for some in (rows, main))
    if len(chains) > 1:
        notes.append(f"{backbone}: of the chains {', '.join(sorted(chains))} only {min(used)} is used.")
    return main


def _read_backbone(backbone: str, rows: list[Row]) -> ParsedTable:
    notes: list[str] = []
    rows = _final(backbone, rows, notes)
    cells: dict[tuple[str, str, float | None], dict[tuple[int, int], Point]] = defaultdict(dict)
    twice, kept = set(), []
    for row in sorted(rows, key=lambda row: row["run"]):
        key = (row["metric"], row["split"], number(row["t"]))
        cell = (int(row["train_size"]), int(row["seed"]))
        point = _point(row, *cell)
        if point is None:
            if number(row.get(row["metric"], "")) is not None:
                notes.append(
                    f"{backbone}: {row['metric']} on {row['split']} of {cell[0]} rows has no interval and is left out."
                )
            kept.append(row)
        elif cell in cells[key]:
            twice.add(cell)
        else:
            cells[key][cell] = point
            kept.append(row)
    notes.extend(
        f"{backbone}: size {size}, seed {seed} was run more than once; only the first run by name is used."
        for size, seed in sorted(twice)
    )
    parameters = sorted({int(row["parameters"]) for row in rows if row["parameters"]})
    return ParsedTable(backbone, parameters[0] if parameters else None, kept, dict(cells), notes)


def _curve(reading: ParsedTable, method: str, t: float | None, *sides: tuple[str, str]) -> Curve:
    """The first side, or the first minus the second at every cell that has both."""
    first, *second = (reading.points.get((*side, t), {}) for side in sides)
    points = list(first.values())
    if second:
        points = [
            Point(*cell, *difference_interval(first[cell].interval, second[0][cell].interval))
            for cell in first.keys() & second[0].keys()
        ]
    return Curve(reading.backbone, method, t, tuple(sorted(points)))


def _point(row: Row, size: int, seed: int) -> Point | None:
    """The row's measurement; a rate without an interval may be anything in [0, 1], a mean without one says nothing."""
    kind = row["metric"]
    value, low, high = (number(row.get(name, "")) for name in (kind, f"{kind}_low", f"{kind}_high"))
    if value is None:
        return None
    if low is None or high is None:
        return Point(size, seed, value, 0.0, 1.0) if kind == "recovery" else None
    return Point(size, seed, value, low, high)
