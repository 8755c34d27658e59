"""The content of transition.json: sizes, regimes and statements, with the condition under which each is true."""

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
import pyarrow as pa

from uddm_lightning.results.panel import Cell, Panel
from uddm_lightning.results.tables import Row, number
from uddm_lightning.results.units import Units, read_units
from uddm_lightning.stats.intervals import NORMAL, Interval
from uddm_lightning.transition.curves import METHODS, ParsedTable, read, reference
from uddm_lightning.transition.equivalence import equivalence
from uddm_lightning.transition.methods import (
    DIFFER,
    QUANTITIES,
    UNDEFINED,
    Half,
    Quantity,
    generalizes_from,
    half_size,
    memorized_up_to,
)
from uddm_lightning.transition.regimes import NOT_LEARNED, Evidence, judge

LABELS = {"n_mem": "N_mem", "n_gen": "N_gen", "n_half": "N_half"}
SIZES = tuple(LABELS)
_RATE = (0.0, 1.0)  # limits of recovery
_BLANK = 0.999  # noise level from which on nothing of a row is left, so that it cannot be recalled
_AGREE = 2.0  # ratio of sizes up to which two methods agree
_MISSING = {
    "recovery": "recovery on train and test rows",
    "entropy": "entropy on train rows",
    "entropy_samples": "entropy on the model's own samples",
    "nelbo": "NELBO on train and test rows",
}
PanelOf = Callable[..., Panel]


def estimate(rows: Iterable[Row], draws: pa.Table | None = None) -> dict[str, Any]:
    """Where the models of a sweep stop memorizing and begin to generalize.

    `methods` defines the sizes, `panel` the intervals, `regimes` the regimes.

    Args:
        rows: rows of a sweep's measurements.csv, as `read_table` returns them.
        draws: the sweep's rows.parquet, with `run`, `backbone`, `size` and `seed`. Without it, or where it lacks a
            measurement, errors are taken to be independent between sizes, and a note says so.

    Returns:
        The content of transition.json, made of dicts, lists, strings, ints, floats, bools and None. What the data do
        not support is None, with the reason beside it and in the notes.
    """
    # an oracle is as good as it will be, whatever the size: it has no transition
    readings = read(row for row in rows if row.get("parameters") != "0")
    notes: list[str] = []
    backbones, headline = {}, {}
    for reading in readings:
        name = reading.backbone
        notes += reading.notes
        backbones[name], headline[name] = _backbone(reading, draws, notes)
    notes.append(DIFFER if backbones else "There are no measurements.")
    return {"backbones": backbones, "headline": headline, "notes": notes}


def _backbone(
    reading: ParsedTable, draws: pa.Table | None, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The entry of a backbone and its headline."""
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
        return Panel(cells, {cell: units[place] for cell in cells if (place := _place(kind, t, cell)) in units})

    recovered = [t for kind, split, t in reading.points if (kind, split) == ("recovery", "test") and t is not None]
    at = reference(recovered) if recovered else None
    regimes = _regimes(reading, panel, at) if at is not None else []
    estimates = []
    for method in METHODS:
        mine = _estimates(method, reading, panel, regimes)
        if not mine:
            reason = f"missing: no {_MISSING[method]} was measured"
            mine = [_entry(method, None, dict.fromkeys(SIZES, reason))]
            notes.append(f"{name}, {method}: {reason}.")
        said = [
            (entry["t"], f"{LABELS[key]}{'' if entry[key] else ' is null'}: {reason}.")
            for entry in mine
            if entry["sizes"]
            for key, reason in entry["reasons"].items()
        ]
        notes += _once(f"{name}, {method}", said)
        estimates += mine
    seeds = sorted({seed for points in reading.points.values() for _, seed in points})
    if len(seeds) == 1:
        notes.append(f"{name}: with one seed the intervals cover the sampling of sequences only, not the training.")
    tests = sorted({t for kind, split, t in reading.points if (kind, split) == ("recovery", "test") and t is not None})
    trends = [_trend(panel("recovery", t, "test"), t) for t in tests]
    why = [(one["t"], f"the trend of test recovery is null: {one['reason']}.") for one in trends if one["reason"]]
    notes += _once(name, why)
    entry = {
        "parameters": reading.parameters,
        "seeds": seeds,
        "estimates": estimates,
        "regimes": regimes,
        "agreement": _agreement(estimates),
        "trend": trends,
    }
    return entry, _headline(estimates, regimes, at, seeds)


def _once(whose: str, said: list[tuple[float | None, str]]) -> list[str]:
    """Each sentence once, with every t for which it was said."""
    found: dict[str, list[str]] = {}
    for t, text in said:
        found.setdefault(text, []).extend([] if t is None else [f"{t:g}"])
    return [whose + (f" at t = {', '.join(times)}" if times else "") + f", {text}" for text, times in found.items()]


def _lacks(reading: ParsedTable, units: dict[Any, Units], kind: str, split: str, t: float | None) -> bool:
    wanted = kind in ("recovery", "entropy", "nelbo") and split != "random"
    return wanted and any((kind, split, t, *cell) not in units for cell in reading.points[kind, split, t])


def _place(kind: str, t: float | None, cell: Cell) -> tuple[str, str, float | None, int, int]:
    split, size, seed = cell
    return kind, split, t, size, seed


def _estimates(
    method: str, reading: ParsedTable, panel: PanelOf, regimes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The entries of one method, by t."""
    quantity = QUANTITIES[method]
    kind = method.partition("_")[0]
    levels: list[float | None] = [None] if method == "nelbo" else list(reading.levels)
    entries = []
    for t in levels:
        mine = panel(kind, t, *quantity.signs)
        sizes = mine.sizes(*quantity.signs)
        if not sizes:
            continue
        if t is not None and t >= _BLANK:
            reason = "blank: nothing of a row is left at this t, so there is nothing to recall"
            entries.append(_entry(method, t, dict.fromkeys(SIZES, reason)))
            continue
        entries.append(_estimate(method, t, mine, reading, panel, regimes))
    return entries


def _estimate(
    method: str, t: float | None, mine: Panel, reading: ParsedTable, panel: PanelOf, regimes: list[dict[str, Any]]
) -> dict[str, Any]:
    """The entry of one curve."""
    quantity = QUANTITIES[method]
    sizes = mine.sizes(*quantity.signs)
    found: dict[str, tuple[Interval | None, str | None]] = {}
    if method == "recovery":
        train = [mine.mean(mine.weights({"train": 1.0}, size), _RATE) for size in sizes]
        found["n_mem"] = memorized_up_to(sizes, train)
        saturated = found["n_mem"][0] is not None
    else:
        found["n_mem"] = None, UNDEFINED["n_mem"]
        saturated = False
    half = half_size(mine, quantity, saturated)
    found["n_half"] = half.size, half.reason
    curve = [mine.mean(mine.weights(quantity.signs, size), quantity.limits) for size in sizes]
    if quantity.tolerance is None:
        found["n_gen"] = None, UNDEFINED["n_gen"]
    else:
        learned = _learned(sizes, t, reading, panel)
        found["n_gen"] = generalizes_from(sizes, curve, learned, quantity.tolerance)
    last = regimes[-1] if regimes and regimes[-1]["train_size"] >= sizes[-1] else None
    if last and last["regime"] == NOT_LEARNED:
        step = max(int(row["step"]) for row in reading.rows)
        reason = f"the largest size, {sizes[-1]}, is not learned yet after {step} steps: {last['reason'].rstrip('.')}"
        found |= {
            key: (None, reason) for key in ("n_gen", "n_half") if method in ("recovery", "nelbo") or key == "n_half"
        }
    reasons = {key: reason for key, (_, reason) in found.items() if reason}
    entry = _entry(method, t, reasons) | {key: _spelled(found[key][0]) for key in SIZES}
    entry |= _fit(half)
    for size, interval in zip(sizes, curve, strict=True):
        told = equivalence(
            interval, quantity.tolerance or 1.0, _draws(mine, quantity, size, interval, reading, t, method)
        )
        entry["sizes"].append(
            {
                "train_size": size,
                **_numbers(interval),
                "sigma": (interval.high - interval.low) / (2 * NORMAL),
                "equivalent": told.equivalent if quantity.tolerance else None,
                "draws_needed": told.draws_needed if quantity.tolerance else None,
            }
        )
    return entry


def _entry(method: str, t: float | None, reasons: dict[str, str]) -> dict[str, Any]:
    numbers = dict.fromkeys((*SIZES, "deviance_per_df", "plateau", "min_lr_ratio"))
    return {"method": method, "t": t, **numbers, "reasons": reasons, "sizes": []}


def _fit(half: Half) -> dict[str, Any]:
    known = half.size is not None
    return {
        "deviance_per_df": half.deviance_per_df,
        "plateau": half.plateau if known else None,
        "min_lr_ratio": half.floor if known else None,
    }


def _numbers(interval: Interval) -> dict[str, float | None]:
    return {key: float(value) if math.isfinite(value) else None for key, value in interval._asdict().items()}


def _spelled(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else _numbers(interval)


def _draws(
    mine: Panel, quantity: Quantity, size: int, interval: Interval, reading: ParsedTable, t: float | None, method: str
) -> int:
    """Draws for each split behind an interval; 0 where seeds make it wide, so that more draws would not help."""
    own = mine.sum(mine.weights(quantity.signs, size).mean(0))
    if interval.high - interval.low > 1.2 * (own.high - own.low):
        return 0
    return _measured(reading, method.partition("_")[0], quantity.signs, t, size)


def _measured(reading: ParsedTable, kind: str, splits: Iterable[str], t: float | None, size: int) -> int:
    """Draws for each split, the fewest."""
    counts = [
        number(row.get("n_draws"))
        for row in reading.rows
        if (row["metric"], number(row["t"]), int(row["train_size"])) == (kind, t, size) and row["split"] in splits
    ]
    return min((int(count) for count in counts if count is not None), default=0)


def _learned(sizes: list[int], t: float | None, reading: ParsedTable, panel: PanelOf) -> list[bool | None]:
    """Whether the interval of test recovery is above coincidence at each size, at this t or the one nearest 0.1."""
    levels = sorted({t for kind, split, t in reading.points if (kind, split) == ("recovery", "test") and t is not None})
    if not levels:
        return [None] * len(sizes)
    t = reference(levels) if t is None else t
    tests, found = panel("recovery", t, "test"), []
    for size in sizes:
        level = _mean_of(reading, "coincidence", "recovery", t, size)
        seeds = tests.seeds(size, "test")
        found.append(
            tests.mean(tests.weights({"test": 1.0}, size)).low > level if seeds and level is not None else None
        )
    return found


def _mean_of(
    reading: ParsedTable,
    column: str,
    kind: str,
    t: float | None,
    size: int,
    seed: int | None = None,
    split: str = "test",
) -> float | None:
    """Mean of a column of measurements.csv over the seeds of a size."""
    values = [
        value
        for row in reading.rows
        if (row["metric"], row["split"], number(row["t"]), int(row["train_size"])) == (kind, split, t, size)
        and seed in (None, int(row["seed"]))
        and (value := number(row.get(column))) is not None
    ]
    return fmean(values) if values else None


def _regimes(reading: ParsedTable, panel: PanelOf, t: float) -> list[dict[str, Any]]:
    """The regime of each size, pooled over seeds, and of each run."""
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
                **{side: _spelled(getattr(evidence, side)) for side in ("train", "test", "gap")},
                "coincidence": evidence.coincidence,
                "chance": _mean_of(reading, "chance", "recovery", t, size),
                "nelbo": evidence.nelbo,
                "unigram_entropy": evidence.unigram_entropy,
                "draws_needed": regime.draws_needed,
                "by_seed": each,
            }
        )
    return result


def _evidence(reading: ParsedTable, mine: Panel, t: float, size: int, seed: int | None) -> Evidence:
    """What is known of a size, or of one run of it."""

    def side(**signs: float) -> Interval | None:
        seeds, weights_SN = mine.seeds(size, *signs), mine.weights(signs, size)
        weights_SN = weights_SN[[seed is None or seed == one for one in seeds]]
        return mine.mean(weights_SN, _RATE if len(signs) == 1 else (-1.0, 1.0)) if len(weights_SN) else None

    return Evidence(
        train=side(train=1.0),
        test=side(test=1.0),
        gap=side(train=1.0, test=-1.0),
        coincidence=_mean_of(reading, "coincidence", "recovery", t, size, seed),
        nelbo=_mean_of(reading, "nelbo", "nelbo", None, size, seed),
        unigram_entropy=_mean_of(reading, "pool_unigram_entropy", "nelbo", None, size, seed),
        falling=_still_falling(reading, size, seed),
        draws=_measured(reading, "recovery", ("train", "test"), t, size),
    )


def _still_falling(reading: ParsedTable, size: int, seed: int | None) -> bool | None:
    """Whether the column `nelbo_falling` says so of some run; None where it says nothing of one and no of the others.

    It is the paired test of `falling`, made by the run itself: tables hold no noise that validations share.
    """
    told = [
        row.get("nelbo_falling")
        for row in reading.rows
        if (row["metric"], row["split"], int(row["train_size"])) == ("nelbo", "test", size)
        and seed in (None, int(row["seed"]))
    ]
    if "True" in told:
        return True
    return False if told and set(told) == {"False"} else None


def _agreement(estimates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each t, how far N_half of recovery and entropy are apart.

    `agree` is true where the interval of their ratio lies within a factor of 2, and false where it excludes 1 and lies
    not within; else it is None, since intervals that overlap may just be wide.
    """
    found = {(entry["method"], entry["t"]): entry for entry in estimates}
    rows = []
    for t in sorted({entry["t"] for entry in estimates if entry["method"] == "recovery" and entry["t"] is not None}):
        pair = {method: (found.get((method, t)) or {}).get("n_half") for method in ("recovery", "entropy")}
        row: dict[str, Any] = {"t": t, **{method: half and half["value"] for method, half in pair.items()}}
        row |= dict.fromkeys(("overlap", "ratio", "low", "high", "agree", "reason"))
        if missing := [method for method, half in pair.items() if half is None]:
            rows.append(row | {"reason": f"N_half of {' and '.join(missing)} is null"})
            continue
        one, two = ({key: math.log(value) for key, value in half.items()} for half in pair.values() if half)
        ratio = two["value"] - one["value"]
        low = ratio - math.hypot(two["value"] - two["low"], one["high"] - one["value"])
        high = ratio + math.hypot(two["high"] - two["value"], one["value"] - one["low"])
        near = -math.log(_AGREE) <= low and high <= math.log(_AGREE)
        agree = True if near else False if low > 0 or high < 0 else None
        reason = None if agree is not None else f"the ratio may be {math.exp(low):.2g} to {math.exp(high):.2g}"
        row |= {"overlap": one["low"] <= two["high"] and two["low"] <= one["high"], "ratio": math.exp(ratio)}
        rows.append(row | {"low": math.exp(low), "high": math.exp(high), "agree": agree, "reason": reason})
    return rows


def _trend(tests: Panel, t: float) -> dict[str, Any]:
    """Slope of test recovery per doubling of the size, where a line fits.

    The line is that of generalized least squares, with the covariance of the means over seeds and their spread between
    seeds. It fits unless its deviance is above the 95 % quantile of chi-square.
    """
    row: dict[str, Any] = {"t": t, "slope": None, "low": None, "high": None, "deviance_per_df": None, "reason": None}
    sizes = tests.sizes("test")
    if len(sizes) < 3:
        return row | {"reason": "3 sizes are needed"}
    weights = [tests.weights({"test": 1.0}, size) for size in sizes]
    means_KN = np.array([one.mean(0) for one in weights])
    values = [one @ tests.bounds_3N[0] for one in weights]
    y_K = np.array([value.mean() for value in values])
    error_N = (tests.bounds_3N[2] - tests.bounds_3N[1]) / (2 * NORMAL)
    covariance_KK = means_KN @ (tests.correlation_NN * np.outer(error_N, error_N)) @ means_KN.T
    covariance_KK += np.diag([value.var(ddof=1) / len(value) if len(value) > 1 else 0.0 for value in values])
    covariance_KK += np.diag(np.full(len(sizes), 1e-12 + 1e-6 * float(np.diag(covariance_KK).max())))
    design_K2 = np.stack([np.ones(len(sizes)), np.log2(np.array(sizes, float))], 1)
    inverse_KK = np.linalg.inv(covariance_KK)
    solve_2K = np.linalg.solve(design_K2.T @ inverse_KK @ design_K2, design_K2.T @ inverse_KK)
    residual_K = y_K - design_K2 @ (solve_2K @ y_K)
    df = len(sizes) - 2
    deviance = float(residual_K @ inverse_KK @ residual_K)
    row["deviance_per_df"] = deviance / df
    limit = df * (1 - 2 / (9 * df) + NormalDist().inv_cdf(0.95) * math.sqrt(2 / (9 * df))) ** 3  # Wilson and Hilferty
    if deviance > limit:
        peak = sizes[int(np.argmax(y_K))]
        return row | {
            "reason": f"a line does not fit, with a deviance of {deviance / df:.3g} per degree of freedom; test "
            f"recovery is largest at size {peak}"
        }
    common = sorted(set.intersection(*({*tests.seeds(size, "test")} for size in sizes)))
    if common:
        picked = [[tests.seeds(size, "test").index(seed) for size in sizes] for seed in common]
        slopes_SN = np.array([[w[k] for w, k in zip(weights, places, strict=True)] for places in picked])
        slope = tests.mean(np.einsum("k,skn->sn", solve_2K[1], slopes_SN))
    else:
        slope = tests.sum(solve_2K[1] @ means_KN)
    return row | {"slope": float(slope.value), "low": float(slope.low), "high": float(slope.high)}


def _headline(
    estimates: list[dict[str, Any]], regimes: list[dict[str, Any]], t: float | None, seeds: list[int]
) -> dict[str, Any] | None:
    """The size to name: N_half of recovery at the t nearest 0.1, else N_gen, else N_mem; None where all are null."""
    entry = next((one for one in estimates if one["method"] == "recovery" and one["t"] == t and t is not None), None)
    name = next((key for key in ("n_half", "n_gen", "n_mem") if entry and entry[key]), None)
    if entry is None or name is None:
        return None
    qualifiers = []
    if regimes and regimes[-1]["regime"] == NOT_LEARNED:
        qualifiers.append(f"size {regimes[-1]['train_size']} is not learned yet")
    if any(regime["qualifiers"] for regime in regimes):
        unfinished = [str(regime["train_size"]) for regime in regimes if regime["qualifiers"]]
        qualifiers.append(f"training was not at its end at size {', '.join(unfinished)}")
    if len(seeds) == 1:
        qualifiers.append("one seed: the interval covers the sampling of sequences only")
    return {"method": "recovery", "t": t, "estimate": name, **entry[name], "qualifier": "; ".join(qualifiers)}
