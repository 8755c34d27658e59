"""The reader of measurements.csv: rows of finished runs, by backbone."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from uddm_lightning.results.tables import Row, bounds, number, of_main_chain
from uddm_lightning.stats.intervals import Interval

Quantity = tuple[str, str, float | None]  # metric, split, t
Run = tuple[int, int]  # size, seed


@dataclass(frozen=True, order=True)
class Point:
    """One value of one run, or a difference of two.

    Args:
        size: rows in the training subset.
        seed: seed of the run.
        value: in the unit of its column.
        low: lower end of its 95 % interval; None without an interval.
        high: upper end.
        row: the row of the table; empty for a difference.
    """

    size: int
    seed: int
    value: float
    low: float | None
    high: float | None
    row: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def number(self, column: str) -> float | None:
        """Return another column of the row."""
        return number(self.row.get(column))

    @property
    def interval(self) -> Interval:
        """Value and bounds; a missing bound is NaN."""
        return Interval(self.value, *(math.nan if end is None else end for end in (self.low, self.high)))


class ParsedTable(NamedTuple):
    """The measurements of one backbone.

    Attributes:
        backbone: its name.
        parameters: trainable parameters; None if the table does not say.
        all_chains: rows of the last step of each finished run, of one kind of weights.
        rows: those of the main chain (see `of_main_chain`).
        cells: the same by metric, split and t (None for a metric without one), then by size and seed; of repeated runs
            the first by name.
        points: values with intervals of the metrics that have a column of their name.
        notes: rows that were left out, with the reason.
    """

    backbone: str
    parameters: int | None
    all_chains: list[Row]
    rows: list[Row]
    cells: dict[Quantity, dict[Run, Row]]
    points: dict[Quantity, dict[Run, Point]]
    notes: list[str]

    @property
    def levels(self) -> list[float]:
        """Corruption times at which there are points, ascending."""
        return sorted({t for _, _, t in self.points if t is not None})

    @property
    def test_times(self) -> list[float]:
        """Corruption times at which recovery of test rows was measured, ascending."""
        return sorted({t for kind, split, t in self.points if (kind, split) == ("recovery", "test") and t is not None})


def parse(rows: Iterable[Row]) -> list[ParsedTable]:
    """Return the measurements of each backbone, by name.

    Of every run only the last step counts, with averaged weights if there are any, and one chain. A run that ended
    before the others of its backbone is left out.

    Args:
        rows: rows as `read_table` returns them.
    """
    backbones: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        backbones[row["backbone"]].append(row)
    return [_parse(name, backbones[name]) for name in sorted(backbones)]


def point(row: Row, column: str) -> Point | None:
    """Return the value of a row in a column, with its interval; None if the field is empty."""
    value, low, high = bounds(row, column)
    return None if value is None else Point(int(row["train_size"]), int(row["seed"]), value, low, high, row)


def _final(backbone: str, rows: list[Row], notes: list[str]) -> list[Row]:
    """Return the rows of each finished run at its last step, of one kind of weights."""
    last: dict[str, int] = {}
    for row in rows:
        last[row["run"]] = max(last.get(row["run"], 0), int(row["step"]))
    final = max(last.values())
    notes.extend(
        f"{backbone}: run {run} is left out, it stands at step {last[run]} of {final}."
        for run in sorted(run for run, step in last.items() if step < final)
    )
    rows = [row for row in rows if int(row["step"]) == final]
    weights = "ema" if any(row["weights"] == "ema" for row in rows) else "raw"
    every = {row["metric"] for row in rows}
    rows = [row for row in rows if row["weights"] == weights]
    notes.extend(
        f"{backbone}: {kind} was measured of the raw weights only, other kinds of the averaged ones; it is left out."
        for kind in sorted(every - {row["metric"] for row in rows})
    )
    return rows


def _parse(backbone: str, rows: list[Row]) -> ParsedTable:
    notes: list[str] = []
    final = _final(backbone, rows, notes)
    main = of_main_chain(final)
    chains, used = ({row["sampler"] for row in some if row["metric"] == "recovery"} for some in (final, main))
    if len(chains) > 1:
        notes.append(f"{backbone}: of the chains {', '.join(sorted(chains))} only {min(used)} is used.")
    cells: dict[Quantity, dict[Run, Row]] = defaultdict(dict)
    points: dict[Quantity, dict[Run, Point]] = defaultdict(dict)
    twice, kept = set(), []
    for row in sorted(main, key=lambda row: row["run"]):
        key, cell = (row["metric"], row["split"], number(row["t"])), (int(row["train_size"]), int(row["seed"]))
        cells[key].setdefault(cell, row)
        found = _bounded(row)
        if found is None:
            if number(row.get(row["metric"])) is not None:
                notes.append(
                    f"{backbone}: {row['metric']} on {row['split']} of {cell[0]} rows has no interval and is left out."
                )
        elif cell in points[key]:
            twice.add(cell)
            continue
        else:
            points[key][cell] = found
        kept.append(row)
    notes.extend(
        f"{backbone}: size {size}, seed {seed} was run more than once; only the first run by name is used."
        for size, seed in sorted(twice)
    )
    parameters = sorted({int(row["parameters"]) for row in main if row["parameters"]})
    smallest = parameters[0] if parameters else None
    return ParsedTable(backbone, smallest, final, kept, dict(cells), dict(points), notes)


def _bounded(row: Row) -> Point | None:
    """Return the value of a row; without an interval, a rate may lie anywhere in [0, 1] and a mean is left out."""
    found = point(row, row["metric"])
    if found is None or (found.low is not None and found.high is not None):
        return found
    if row["metric"] != "recovery":
        return None
    return replace(found, low=0.0, high=1.0)
