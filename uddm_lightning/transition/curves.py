"""Curves over the training size, from the table of a sweep."""

from collections.abc import Iterable
from typing import NamedTuple

from uddm_lightning.results.parsed import ParsedTable, Point, parse
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import Row
from uddm_lightning.stats.intervals import difference_interval
from uddm_lightning.transition.methods import QUANTITIES


class Curve(NamedTuple):
    """One quantity of one backbone over the training size.

    Attributes:
        backbone: name of the backbone.
        method: one of `METHODS`.
        t: noise level; None for the NELBO, which has none.
        points: one for each run with the measurement, by size and seed.
    """

    backbone: str
    method: str
    t: float | None
    points: tuple[Point, ...]


def curves(rows: Iterable[Row], reference_only: bool = False) -> list[Curve]:
    """Return the gap of recovery, the entropy of train rows and samples, and the gap of the NELBO, by training size.

    Only the last step of each run counts, with the averaged weights if there are any, and with one chain. A run that
    ended before the others of its backbone is left out.

    Args:
        rows: rows as `read_table` returns them.
        reference_only: keep the noise level nearest to t = 0.1 only, the one of the paper's figures.

    Returns:
        The curves that are not empty, by backbone, method and t.
    """
    found: list[Curve] = []
    for reading in parse(rows):
        levels = [reference(reading.levels)] if reference_only and reading.levels else reading.levels
        for method, quantity in QUANTITIES.items():
            for t in [None] if method == "nelbo" else levels:
                points = _points(reading, method.partition("_")[0], quantity.signs, t)
                if points:
                    found.append(Curve(reading.backbone, method, t, tuple(sorted(points))))
    return found


def _points(reading: ParsedTable, kind: str, splits: Iterable[str], t: float | None) -> list[Point]:
    """Return the values of the only split, or the first split minus the second for every run that has both."""
    first, *others = (reading.points.get((kind, split, t), {}) for split in splits)
    if not others:
        return list(first.values())
    (second,) = others
    return [
        Point(*cell, *difference_interval(first[cell].interval, second[cell].interval))
        for cell in first.keys() & second.keys()
    ]
