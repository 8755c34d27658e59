"""Curves over the training size, read off the table of a sweep."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from uddm_lightning.intervals import NORMAL
from uddm_lightning.tables import of_main_chain

METHODS = ("recovery", "entropy", "entropy_samples", "nelbo")
REFERENCE_T = 0.1  # the noise level of the paper's figures

Row = Mapping[str, str]  # one row of the table, all fields as text


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
    def sigma(self) -> float:
        """Standard error that a symmetric interval of this width would have."""
        return (self.high - self.low) / (2 * NORMAL)


class Curve(NamedTuple):
    """One quantity of one backbone over the training size.

    Attributes:
        backbone: name of the backbone.
        method: one of `METHODS`; `train recovery` and `test recovery` for the two sides of the gap.
        t: noise level; None for the NELBO, which has none.
        points: one for each run that has the measurement, by size and seed.
    """

    backbone: str
    method: str
    t: float | None
    points: tuple[Point, ...]


class Reading(NamedTuple):
    """What a table says.

    Attributes:
        curves: the curves of `METHODS`.
        sides: train and test recovery by themselves.
        parameters: trainable parameters by backbone; None where the table does not say.
        levels: noise levels [1] that were measured, by backbone.
        notes: what was left out and why.
    """

    curves: list[Curve]
    sides: list[Curve]
    parameters: dict[str, int | None]
    levels: dict[str, list[float]]
    notes: list[str]


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
    found = read(rows).curves
    if not reference_only:
        return found
    levels = defaultdict(list)
    for curve in found:
        if curve.t is not None:
            levels[curve.backbone].append(curve.t)
    nearest = {name: min(ts, key=lambda t: (abs(math.log(t / REFERENCE_T)), t)) for name, ts in levels.items()}
    return [curve for curve in found if curve.t is None or curve.t == nearest[curve.backbone]]


def read(rows: Iterable[Row]) -> Reading:
    """The curves of a table, the sides of the recovery gap, and what was left out.

    Args:
        rows: rows as `read_table` returns them.

    Returns:
        Everything the estimates need.
    """
    backbones: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        backbones[row["backbone"]].append(row)
    reading = Reading([], [], {}, {}, [])
    for backbone in sorted(backbones):
        _read_backbone(backbone, _final(backbone, backbones[backbone], reading.notes), reading)
    return reading


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
    rows = [row for row in rows if row["weights"] == weights]
    main = of_main_chain(rows)
    chains, used = ({row["chain"] for row in some if row["kind"] == "recovery"} for some in (rows, main))
    if len(chains) > 1:
        notes.append(f"{backbone}: of the chains {', '.join(sorted(chains))} only {min(used)} is used.")
    return main


def _read_backbone(backbone: str, rows: list[Row], reading: Reading) -> None:
    """Adds the curves of one backbone to the reading."""
    cells: dict[tuple[str, str, float | None], dict[tuple[int, int], Point]] = defaultdict(dict)
    twice = set()
    for row in sorted(rows, key=lambda row: row["run"]):
        key = (row["kind"], row["split"], _number(row["t"]))
        cell = (int(row["size"]), int(row["seed"]))
        point = _point(row, *cell)
        if point is None:
            if _number(row.get(row["kind"], "")) is not None:
                reading.notes.append(
                    f"{backbone}: {row['kind']} on {row['split']} of {cell[0]} rows has no interval and is left out."
                )
        elif cell in cells[key]:
            twice.add(cell)
        else:
            cells[key][cell] = point
    reading.notes.extend(
        f"{backbone}: size {size}, seed {seed} was run more than once; only the first run by name is used."
        for size, seed in sorted(twice)
    )
    parameters = sorted({int(row["parameters"]) for row in rows if row["parameters"]})
    reading.parameters[backbone] = parameters[0] if parameters else None
    reading.levels[backbone] = levels = sorted({t for _, _, t in cells if t is not None})

    def add(curves: list[Curve], method: str, t: float | None, points: Iterable[Point]) -> None:
        ordered = tuple(sorted(points))
        if ordered:
            curves.append(Curve(backbone, method, t, ordered))

    for t in levels:
        train, test = cells[("recovery", "train", t)], cells[("recovery", "test", t)]
        add(reading.curves, "recovery", t, _differences(train, test))
        add(reading.sides, "train recovery", t, train.values())
        add(reading.sides, "test recovery", t, test.values())
    for method, split in (("entropy", "train"), ("entropy_samples", "samples")):
        for t in levels:
            add(reading.curves, method, t, cells[("entropy", split, t)].values())
    add(reading.curves, "nelbo", None, _differences(cells[("nelbo", "test", None)], cells[("nelbo", "train", None)]))


def _point(row: Row, size: int, seed: int) -> Point | None:
    """The row's measurement; a rate without an interval may be anything in [0, 1], a mean without one says nothing."""
    kind = row["kind"]
    value, low, high = (_number(row.get(name, "")) for name in (kind, f"{kind}_low", f"{kind}_high"))
    if value is None:
        return None
    if low is None or high is None:
        return Point(size, seed, value, 0.0, 1.0) if kind == "recovery" else None
    return Point(size, seed, value, low, high)


def _differences(first: dict[tuple[int, int], Point], second: dict[tuple[int, int], Point]) -> list[Point]:
    """First minus second, cell by cell, for independent samples.

    The distances from the estimates to their bounds are added like standard errors (Newcombe, Statistics in Medicine
    17, 1998, "Interval estimation for the difference between independent proportions", method 10).
    """
    points = []
    for cell in first.keys() & second.keys():
        one, two = first[cell], second[cell]
        value = one.value - two.value
        below = math.hypot(one.value - one.low, two.high - two.value)
        above = math.hypot(one.high - one.value, two.value - two.low)
        points.append(Point(*cell, value, value - below, value + above))
    return points


def _number(text: str | None) -> float | None:
    """The number a field holds; None for an empty field and for what is not finite."""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None
