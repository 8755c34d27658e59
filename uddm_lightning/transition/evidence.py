"""Collect the measurements of each size from the table of a sweep, and judge its regime."""

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import ParsedTable
from uddm_lightning.results.tables import Row, number
from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.regimes import Evidence, judge

RATE = (0.0, 1.0)  # limits of recovery
_SIDES = Evidence._fields[:3]  # the intervals: train, test and gap
PanelOf = Callable[..., Panel]


def regimes_by_size(reading: ParsedTable, panel: PanelOf, t: float) -> list[dict[str, Any]]:
    """Return the entry of each size: its regime pooled over seeds, the evidence, and the regime of each run."""
    mine = panel("recovery", t, "train", "test")
    result = []
    for size in mine.sizes("test"):
        seeds = sorted({seed for split, n, seed in mine.cells if n == size})
        evidence = _evidence(reading, mine, t, size, None)
        regime = judge(evidence)
        each = [{"seed": seed, "regime": judge(_evidence(reading, mine, t, size, seed)).name} for seed in seeds]
        result.append(
            {
                "train_size": size,
                "regime": regime.name,
                "qualifiers": list(regime.qualifiers),
                "reason": regime.reason,
                **{side: interval and to_json(interval) for side, interval in zip(_SIDES, evidence[:3], strict=True)},
                "coincidence": evidence.coincidence,
                "chance": mean_of(reading, "chance", "recovery", t, size),
                "nelbo": evidence.nelbo,
                "unigram_entropy": evidence.unigram_entropy,
                "draws_needed": regime.draws_needed,
                "by_seed": each,
            }
        )
    return result


def _evidence(reading: ParsedTable, mine: Panel, t: float, size: int, seed: int | None) -> Evidence:
    """Return the evidence on a size, or on its run of one seed."""

    def side(**signs: float) -> Interval | None:
        seeds, weights_SN = mine.seeds(size, *signs), mine.weights(signs, size)
        weights_SN = weights_SN[[seed is None or seed == one for one in seeds]]
        return mine.mean(weights_SN, RATE if len(signs) == 1 else (-1.0, 1.0)) if len(weights_SN) else None

    return Evidence(
        train=side(train=1.0),
        test=side(test=1.0),
        gap=side(train=1.0, test=-1.0),
        coincidence=mean_of(reading, "coincidence", "recovery", t, size, seed),
        nelbo=mean_of(reading, "nelbo", "nelbo", None, size, seed),
        unigram_entropy=mean_of(reading, "pool_unigram_entropy", "nelbo", None, size, seed),
        falling=_still_falling(reading, size, seed),
        draws=draws_per_split(reading, "recovery", ("train", "test"), t, size),
    )


def _still_falling(reading: ParsedTable, size: int, seed: int | None) -> bool | None:
    """Return whether the column `nelbo_falling` is true for a run; None if none is true and some are not known.

    The run itself makes this paired test (`falling`): tables do not say which noise validations share.
    """
    found = [row.get("nelbo_falling") for row in _rows(reading, "nelbo", "test", None, size, seed)]
    if "True" in found:
        return True
    return False if found and set(found) == {"False"} else None


def mean_of(
    reading: ParsedTable, column: str, kind: str, t: float | None, size: int, seed: int | None = None
) -> float | None:
    """Return the mean of a column of measurements.csv over the test rows of a size and all its seeds."""
    fields = [number(row.get(column)) for row in _rows(reading, kind, "test", t, size, seed)]
    values = [value for value in fields if value is not None]
    return fmean(values) if values else None


def draws_per_split(reading: ParsedTable, kind: str, splits: Iterable[str], t: float | None, size: int) -> int:
    """Return the smallest number of draws among the splits."""
    counts = [number(row.get("n_draws")) for split in splits for row in _rows(reading, kind, split, t, size)]
    return min((int(count) for count in counts if count is not None), default=0)


def _rows(
    reading: ParsedTable, kind: str, split: str, t: float | None, size: int, seed: int | None = None
) -> list[Row]:
    """Return the rows of a metric and split at one t and size, of one seed or of all."""
    cells = reading.cells.get((kind, split, t), {})
    return [row for (n, s), row in cells.items() if n == size and seed in (None, s)]


def to_json(interval: Interval) -> dict[str, float | None]:
    """Return value and bounds by name, with None for NaN and infinity."""
    return {key: float(value) if math.isfinite(value) else None for key, value in interval._asdict().items()}
