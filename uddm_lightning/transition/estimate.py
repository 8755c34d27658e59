"""Make the content of transition.json: transition sizes, regimes and notes."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import ParsedTable, parse
from uddm_lightning.results.reference import METHODS, SIZES, reference
from uddm_lightning.results.tables import Row
from uddm_lightning.results.units import Units, read_units
from uddm_lightning.transition.agreement import agreement
from uddm_lightning.transition.comparison import comparisons
from uddm_lightning.transition.evidence import regimes_by_size
from uddm_lightning.transition.method_estimates import empty_estimate, estimates_of
from uddm_lightning.transition.methods import DIFFER
from uddm_lightning.transition.over_steps import exact_rows, over_steps
from uddm_lightning.transition.regimes import NOT_LEARNED
from uddm_lightning.transition.trend import trend

_MISSING = {
    "recovery": "recovery on train and test rows",
    "entropy": "entropy on train rows",
    "entropy_samples": "entropy on the model's own samples",
    "nelbo": "NELBO on train and test rows",
}


def estimate(rows: Iterable[Row], draws: pa.Table | None = None) -> dict[str, Any]:
    """Estimate where the models of a sweep stop memorizing and begin to generalize.

    `transition.methods` defines the sizes, `results.panel` the intervals, `transition.regimes` the regimes.

    Args:
        rows: rows of a sweep's measurements.csv, as `read_table` returns them.
        draws: the sweep's rows.parquet, with `run`, `backbone`, `train_size` and `seed`. Without it, or for a
            measurement that it lacks, errors are taken to be independent between sizes, and a note says so.

    Returns:
        The content of transition.json, ready for `json.dump`. A number that the data do not support is None, with the
        reason beside it and in the notes.
    """
    every = list(rows)
    # an oracle has no parameters and no transition
    models = [row for row in every if row.get("parameters") != "0"]
    exact = exact_rows(every)
    readings = parse(models)
    notes: list[str] = []
    backbones, headline = {}, {}
    for reading in readings:
        name = reading.backbone
        notes += reading.notes
        backbones[name], headline[name] = _backbone(reading, draws, notes)
        backbones[name]["over_steps"] = over_steps([row for row in models if row["backbone"] == name], exact)
    notes.append(DIFFER if backbones else "There are no measurements.")
    return {"backbones": backbones, "headline": headline, "comparison": comparisons(backbones), "notes": notes}


def _backbone(
    reading: ParsedTable, draws: pa.Table | None, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the entry of a backbone and its headline."""
    name = reading.backbone
    units = read_units(draws, reading.rows) if draws is not None else {}
    lacking = sorted({kind for kind, split, t in reading.points if _lacks(reading, units, kind, split, t)})
    if lacking:
        notes.append(
            f"{name}: rows.parquet does not have every draw of {', '.join(lacking)}; errors of these are taken to be "
            "independent between sizes."
        )

    def panel(kind: str, t: float | None, *splits: str) -> Panel:
        points = {split: reading.points.get((kind, split, t), {}) for split in splits}
        cells = {(split, *cell): point.interval for split in splits for cell, point in points[split].items()}
        places = {(split, size, seed): (kind, split, t, size, seed) for split, size, seed in cells}
        return Panel(cells, {cell: units[place] for cell, place in places.items() if place in units})

    at = reference(reading.test_times) if reading.test_times else None
    regimes = regimes_by_size(reading, panel, at) if at is not None else []
    estimates = []
    for method in METHODS:
        mine = estimates_of(method, reading, panel, regimes)
        if not mine:
            reason = f"missing: no {_MISSING[method]} was measured"
            mine = [empty_estimate(method, None, dict.fromkeys(SIZES, reason))]
            notes.append(f"{name}, {method}: {reason}.")
        said = [
            (entry["t"], f"{SIZES[key]}{'' if entry[key] else ' is null'}: {reason}.")
            for entry in mine
            if entry["sizes"]
            for key, reason in entry["reasons"].items()
        ]
        notes += _once(f"{name}, {method}", said)
        estimates += mine
    seeds = sorted({seed for points in reading.points.values() for _, seed in points})
    if len(seeds) == 1:
        notes.append(f"{name}: with one seed the intervals cover the sampling of sequences only, not the training.")
    trends = [trend(panel("recovery", t, "test"), t) for t in reading.test_times]
    why = [(one["t"], f"test recovery has no trend: {one['reason']}.") for one in trends if one["reason"]]
    notes += _once(name, why)
    entry = {
        "parameters": reading.parameters,
        "seeds": seeds,
        "estimates": estimates,
        "regimes": regimes,
        "agreement": agreement(estimates),
        "trend": trends,
    }
    return entry, _headline(estimates, regimes, at, seeds)


def _once(whose: str, said: list[tuple[float | None, str]]) -> list[str]:
    """Return each sentence once, with all its t."""
    found: dict[str, list[str]] = {}
    for t, text in said:
        found.setdefault(text, []).extend([] if t is None else [f"{t:g}"])
    return [whose + (f" at t = {', '.join(times)}" if times else "") + f", {text}" for text, times in found.items()]


def _lacks(reading: ParsedTable, units: dict[Any, Units], kind: str, split: str, t: float | None) -> bool:
    wanted = kind in ("recovery", "entropy", "nelbo") and split != "random"
    return wanted and any((kind, split, t, *cell) not in units for cell in reading.points[kind, split, t])


def limit_of(entry: Mapping[str, Any], name: str) -> str:
    """Return that N_mem or N_gen may lie beyond the measured sizes, or an empty text.

    Args:
        entry: an estimate of transition.json.
        name: its key with a size, such as `n_mem`.
    """
    smallest, largest = (entry["sizes"][place]["train_size"] for place in (0, -1))
    if name == "n_mem" and entry[name]["value"] == largest:
        return "no larger size was measured, so N_mem may be larger"
    if name == "n_gen" and entry[name]["value"] == smallest:
        return "no smaller size was measured, so N_gen may be smaller"
    return ""


def _headline(
    estimates: list[dict[str, Any]], regimes: list[dict[str, Any]], t: float | None, seeds: list[int]
) -> dict[str, Any] | None:
    """Return N_half of recovery at the t nearest to 0.1, else N_gen, else N_mem; None if all are null."""
    entry = next((one for one in estimates if one["method"] == "recovery" and one["t"] == t and t is not None), None)
    name = next((key for key in ("n_half", "n_gen", "n_mem") if entry and entry[key]), None)
    if entry is None or name is None:
        return None
    qualifiers = [limit] if (limit := limit_of(entry, name)) else []
    if regimes and regimes[-1]["regime"] == NOT_LEARNED:
        qualifiers.append(f"size {regimes[-1]['train_size']} is not learned yet")
    unfinished = [str(regime["train_size"]) for regime in regimes if regime["qualifiers"]]
    if unfinished:
        qualifiers.append(f"training was not at its end at size {', '.join(unfinished)}")
    if len(seeds) == 1:
        qualifiers.append("with one seed the interval covers the sampling of sequences only")
    return {"method": "recovery", "t": t, "estimate": name, **entry[name], "qualifier": "; ".join(qualifiers)}
