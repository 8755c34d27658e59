"""Curves over the training size, from the table of a sweep."""

from collections.abc import Iterable
from typing import NamedTuple

from uddm_lightning.results.parsed import ParsedTable, Point, parse
from uddm_lightning.results.reference import METHODS, reference
from uddm_lightning.results.tables import Row
from uddm_lightning.stats.intervals import difference_interval


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


def _curve(reading: ParsedTable, method: str, t: float | None, *sides: tuple[str, str]) -> Curve:
    """Return the first side, or the first minus the second at each size and seed that has both."""
    first, *second = (reading.points.get((*side, t), {}) for side in sides)
    points = list(first.values())
    if second:
        points = [
            Point(*cell, *difference_interval(first[cell].interval, second[0][cell].interval))
            for cell in first.keys() & second[0].keys()
        ]
    return Curve(reading.backbone, method, t, tuple(sorted(points)))
