"""Estimate when models learn and when they memorize, from the measurements at all steps of a sweep.

| time | by | first step at which |
|---|---|---|
| tau_gen | recovery | test recovery is above the coincidence level plus 0.02 |
| tau_gen | NELBO | the test NELBO is 0.1 nats below the unigram entropy |
| tau_mem | recovery | train minus test recovery is above 0.02 |
| tau_mem | entropy | entropy on test rows minus that on train rows is above 0.05 nats |
| tau_mem | NELBO | the test NELBO minus the train NELBO is above 0.05 nats |

For continuous diffusion tau_gen is constant and tau_mem grows in proportion to N (Bonnaire et al., arXiv 2505.17638):
slopes of 0 and 1 in ln N. All sizes have the same learning rates at a step.

A run that memorizes before it has learned may never learn. For the slope and the intervals of tau_gen, such a run
counts as not having learned by the step at which it surely memorizes, and no longer.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import ParsedTable, parse, point
from uddm_lightning.results.reference import SIZES, TOLERANCE, TOLERANCE_NELBO, reference
from uddm_lightning.results.tables import Row, number
from uddm_lightning.stats.intervals import Interval, difference_interval
from uddm_lightning.transition.censored_fit import Times, fit_bend, fit_groups, fit_line
from uddm_lightning.transition.entropy_regime import entropy_regime
from uddm_lightning.transition.evidence import mean_of, regimes_by_size, to_json
from uddm_lightning.transition.method_estimates import estimates_of
from uddm_lightning.transition.onset import Onset, onset
from uddm_lightning.transition.regimes import LEARNED

LEAST_STEPS = 3
LEAST_DRAWS = 128  # of test rows; fewer, as before the last step of a run, show a trend only
Run = tuple[int, int]  # size, seed


class Measured(NamedTuple):
    """The measurements of one backbone at one step.

    Attributes:
        step: optimizer steps.
        table: the rows of this step.
        t: corruption time nearest to 0.1.
    """

    step: int
    table: ParsedTable
    t: float

    def panel(self, kind: str, t: float | None, *splits: str) -> Panel:
        """Return the measurements of one metric; draws of steps before the last one are not kept, so errors of sizes
        are taken to be independent.
        """
        points = {split: self.table.points.get((kind, split, t), {}) for split in splits}
        return Panel({(split, *run): one.interval for split in splits for run, one in points[split].items()}, {})


def over_steps(rows: Iterable[Row], exact: Iterable[Row] = ()) -> dict[str, Any] | None:
    """Return regimes, times and sizes over the training steps of one backbone, ready for `json.dump`.

    Args:
        rows: of the backbone, at all steps.
        exact: of the exact model of a known text, if there is one; it has no steps.

    Returns:
        The entry `over_steps` of transition.json; None with fewer than 3 steps of at least 128 draws of recovery.
    """
    measured = _by_step(rows)
    if len(measured) < LEAST_STEPS:
        return None
    best = next((table for table in parse(exact)), None)
    cells = [cell for one in measured for cell in _cells(one, best)]
    memorized = {run: one.by for run, one in _onsets(measured, *MEMORIZES).items()}
    times = [_time(measured, *question, memorized if question[0] == "tau_gen" else {}) for question in QUESTIONS]
    return {
        "t": measured[-1].t,
        "steps": [one.step for one in measured],
        "cells": cells,
        "times": [one for one in times if one["sizes"]],
        "sizes": [_sizes(one) for one in measured],
        "best": _best(cells),
    }


def exact_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of a model that knows the distribution of the text, and so the largest recovery of any chain."""
    rows = [row for row in rows if row.get("parameters") == "0"]
    exact = {row["backbone"] for row in rows if row["split"] == "test" and row.get("bayes_argmax")}
    return [row for row in rows if row["backbone"] in exact]


def _by_step(rows: Iterable[Row]) -> list[Measured]:
    """Return the measurements of each step at which recovery of test rows rests on enough draws, ascending."""
    steps: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        steps[int(row["step"])].append(row)
    found = []
    for step, mine in sorted(steps.items()):
        (table,) = parse(mine)
        if not table.test_times:
            continue
        t = reference(table.test_times)
        draws = [number(row.get("n_draws")) or 0 for row in table.cells["recovery", "test", t].values()]
        if min(draws) >= LEAST_DRAWS:
            found.append(Measured(step, table, t))
    return found


def _cells(one: Measured, best: ParsedTable | None) -> list[dict[str, Any]]:
    """Return an entry for each size: regimes by recovery and by entropy, and what was measured."""
    recovery, nelbo = one.panel("recovery", one.t, "train", "test"), one.panel("nelbo", None, "train", "test")
    entropy = one.panel("entropy", one.t, "train", "test", "samples")
    judged = {entry["train_size"]: entry for entry in regimes_by_size(one.table, one.panel, one.t)}
    cells = []
    for size in recovery.sizes("test"):
        gap = _mean(entropy, size, test=1.0, train=-1.0)
        unigram = mean_of(one.table, "pool_unigram_entropy", "nelbo", None, size)
        values = {
            **{f"recovery_{split}": _mean(recovery, size, **{split: 1.0}) for split in ("train", "test")},
            "recovery_gap": _mean(recovery, size, train=1.0, test=-1.0),
            **{f"entropy_{split}": _mean(entropy, size, **{split: 1.0}) for split in ("train", "test", "samples")},
            "entropy_gap": gap,
            **{f"nelbo_{split}": _mean(nelbo, size, **{split: 1.0}) for split in ("train", "test")},
        }
        if excess := _excess_nelbo(one, size):
            values["nelbo_test_minus_exact"] = excess
        if best:
            values["recovery_test_minus_exact"] = _excess_recovery(values["recovery_test"], best, one.t)
        nelbo_test = values["nelbo_test"] and values["nelbo_test"].value
        cells.append(
            {
                "step": one.step,
                "train_size": size,
                "epochs": mean_of(one.table, "epochs", "nelbo", None, size),
                "weight_norm": mean_of(one.table, "weight_norm", "nelbo", None, size),
                "regime": judged[size]["regime"],
                "reason": judged[size]["reason"],
                "entropy_regime": entropy_regime(values["entropy_train"], gap, unigram, nelbo_test),
                **{name: value and to_json(value) for name, value in values.items()},
            }
        )
    return cells


def _mean(panel: Panel, size: int, **signs: float) -> Interval | None:
    """Return a sum over splits, as a mean over the seeds that have all of them; None without any."""
    return panel.mean(panel.weights(signs, size)) if panel.seeds(size, *signs) else None


def _excess_nelbo(one: Measured, size: int) -> Interval | None:
    """Return the test NELBO minus that of the exact model, measured on the same noise; None if it is not known."""
    found = {run: point(row, "excess_nelbo") for run, row in one.table.cells.get(("nelbo", "test", None), {}).items()}
    panel = Panel({("test", *run): known.interval for run, known in found.items() if known}, {})
    return _mean(panel, size, test=1.0)


def _excess_recovery(value: Interval | None, best: ParsedTable, t: float) -> Interval | None:
    """Return test recovery minus that of the exact model, with independent errors: its interval is too wide, because
    both restore the same noisy rows.
    """
    exact = next(iter(best.points.get(("recovery", "test", t), {}).values()), None)
    return difference_interval(value, exact.interval) if value and exact else None


Curve = Callable[[Measured], dict[Run, Interval]]


def _difference(kind: str, **signs: float) -> Curve:
    """Return a function that gives a sum over splits for each run, with its interval over rows and noise."""

    def curve(one: Measured) -> dict[Run, Interval]:
        panel = one.panel(kind, None if kind == "nelbo" else one.t, *signs)
        return {
            (size, seed): panel.sum(weights_N)
            for size in panel.sizes(*signs)
            for seed, weights_N in zip(panel.seeds(size, *signs), panel.weights(signs, size), strict=True)
        }

    return curve


def _above(kind: str, column: str, sign: float) -> Curve:
    """Return a function that gives the test value minus a level of the same run (or the level minus the value)."""

    def curve(one: Measured) -> dict[Run, Interval]:
        found = {}
        for run, interval in _difference(kind, test=sign)(one).items():
            row = one.table.cells[kind, "test", None if kind == "nelbo" else one.t][run]
            if (level := number(row.get(column))) is not None:
                found[run] = Interval(*(end - sign * level for end in interval))
        return found

    return curve


MEMORIZES: tuple[Curve, float] = _difference("recovery", train=1.0, test=-1.0), TOLERANCE
QUESTIONS: tuple[tuple[str, str, Curve, float], ...] = (  # time, method, curve, level
    ("tau_gen", "recovery", _above("recovery", "coincidence", 1.0), TOLERANCE),
    ("tau_gen", "nelbo", _above("nelbo", "pool_unigram_entropy", -1.0), LEARNED),
    ("tau_mem", "recovery", *MEMORIZES),
    ("tau_mem", "entropy", _difference("entropy", test=1.0, train=-1.0), TOLERANCE_NELBO),
    ("tau_mem", "nelbo", _difference("nelbo", test=1.0, train=-1.0), TOLERANCE_NELBO),
)


def _onsets(measured: Sequence[Measured], curve: Curve, level: float) -> dict[Run, Onset]:
    """Return when the curve of each run rises above a level."""
    series: dict[Run, list[tuple[int, Interval]]] = defaultdict(list)
    for one in measured:
        for run, interval in curve(one).items():
            series[run].append((one.step, interval))
    return {
        run: onset([step for step, _ in points], [one for _, one in points], level)
        for run, points in sorted(series.items())
    }


def _time(
    measured: Sequence[Measured], time: str, method: str, curve: Curve, level: float, until: Mapping[Run, float]
) -> dict[str, Any]:
    """Return a time for each size, and its slope; a run that never reaches it counts up to its step in `until`."""
    onsets = _onsets(measured, curve, level)
    found: dict[str, Any] = {"time": time, "method": method, "level": level, "slope": None, "reason": None}
    found |= {"bend": None, "sizes": []}
    if not onsets:
        return found
    size_N = np.array([size for size, _ in onsets], float)
    lows = [min(one.low, until.get(run, math.inf)) if math.isinf(one.high) else one.low for run, one in onsets.items()]
    times = Times(np.array(lows), np.array([one.high for one in onsets.values()]))
    slope, found["reason"] = fit_line(size_N, times)
    found["slope"] = slope and to_json(slope)
    if slope and (exponents := fit_bend(size_N, times)):
        found["bend"] = [{"train_size": size, "slope": exponent} for size, exponent in exponents.items()]
    found["sizes"] = _time_by_size(onsets, fit_groups(size_N.astype(np.int64), times), measured[-1].step)
    return found


def _time_by_size(onsets: Mapping[Run, Onset], fitted: Mapping[int, Interval], last: int) -> list[dict[str, Any]]:
    """Return an entry for each size: the time with its interval, or the reason why it is not known."""
    entries = []
    for size, interval in fitted.items():
        mine = {seed: one for (n, seed), one in onsets.items() if n == size}
        if len(mine) == 1 or math.isnan(interval.value):  # the measured steps around it
            after, by = min(one.after for one in mine.values()), max(one.by for one in mine.values())
            interval = Interval(interval.value, after, by)
        entry = {"train_size": size, **to_json(interval)}
        entry["low"] = interval.low or None
        never = sum(math.isinf(one.high) for one in mine.values())
        early = sum(not one.low for one in mine.values())
        said = [f"not reached within {last} steps by {never} of {len(mine)} runs"] * bool(never)
        said += [f"reached before the first measured step by {early} of {len(mine)} runs"] * bool(early)
        each = [{"seed": seed, "after": one.after or None, "by": _finite(one.by)} for seed, one in mine.items()]
        entries.append({**entry, "reason": "; ".join(said) or None, "by_seed": each})
    return entries


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sizes(one: Measured) -> dict[str, Any]:
    """Return N_mem, N_half and N_gen by recovery at one step."""
    regimes = regimes_by_size(one.table, one.panel, one.t)
    entries = estimates_of("recovery", one.table, one.panel, regimes)
    entry = next(entry for entry in entries if entry["t"] == one.t)
    return {"step": one.step, **{name: entry[name] for name in SIZES}, "reasons": entry["reasons"]}


def _best(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each size the step of the smallest test NELBO: of all steps, and of those without memorization.

    The latter, `stop_step`, has a gap of recovery of at most the tolerance.
    """
    entries = []
    for size in sorted({cell["train_size"] for cell in cells}):
        mine = [cell for cell in cells if cell["train_size"] == size and cell["nelbo_test"]]
        if not mine:
            continue
        steps = [cell["step"] for cell in mine]
        least = min(mine, key=lambda cell: cell["nelbo_test"]["value"])
        place = steps.index(least["step"])
        early = [cell for cell in mine if cell["recovery_gap"] and cell["recovery_gap"]["value"] <= TOLERANCE]
        stop = min(early, key=lambda cell: cell["nelbo_test"]["value"], default=None)
        entries.append(
            {
                "train_size": size,
                "step": least["step"],
                "low": steps[place - 1] if place else None,  # the minimum lies between its neighbours
                "high": steps[place + 1] if place + 1 < len(steps) else None,
                "nelbo": least["nelbo_test"]["value"],
                "stop_step": stop and stop["step"],
                "stop_nelbo": stop and stop["nelbo_test"]["value"],
                "stop_gap": stop and stop["recovery_gap"]["value"],
            }
        )
    return entries
