"""Estimate N_mem, N_half and N_gen by each method at each t."""

from typing import Any

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import ParsedTable
from uddm_lightning.results.reference import SIZES, reference
from uddm_lightning.stats.intervals import NORMAL, Interval
from uddm_lightning.transition.equivalence import equivalence
from uddm_lightning.transition.evidence import RATE, PanelOf, draws_per_split, mean_of, to_json
from uddm_lightning.transition.methods import (
    QUANTITIES,
    UNDEFINED,
    Quantity,
    generalizes_from,
    half_size,
    memorized_up_to,
)
from uddm_lightning.transition.regimes import NOT_LEARNED

_BLANK = 0.999  # noise level from which on nothing of a row is left, so that it cannot be recalled


def estimates_of(
    method: str, reading: ParsedTable, panel: PanelOf, regimes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the entries of one method, by t; `panel(kind, t, *splits)` gives the measurements."""
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
            entries.append(empty_estimate(method, t, dict.fromkeys(SIZES, reason)))
            continue
        entries.append(_estimate(method, t, mine, reading, panel, regimes))
    return entries


def _estimate(
    method: str, t: float | None, mine: Panel, reading: ParsedTable, panel: PanelOf, regimes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the entry of one curve."""
    quantity = QUANTITIES[method]
    sizes = mine.sizes(*quantity.signs)
    found: dict[str, tuple[Interval | None, str | None]] = {}
    if method == "recovery":
        train = [mine.mean(mine.weights({"train": 1.0}, size), RATE) for size in sizes]
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
    entry = empty_estimate(method, t, reasons)
    entry |= {key: size and to_json(size) for key, (size, _) in found.items()}
    known = half.size is not None
    entry |= {"deviance_per_df": half.deviance_per_df}
    entry |= {"plateau": half.plateau if known else None, "floor": half.floor if known else None}
    for size, interval in zip(sizes, curve, strict=True):
        told = equivalence(
            interval, quantity.tolerance or 1.0, _draws(mine, quantity, size, interval, reading, t, method)
        )
        entry["sizes"].append(
            {
                "train_size": size,
                **to_json(interval),
                "sigma": (interval.high - interval.low) / (2 * NORMAL),
                "equivalent": told.equivalent if quantity.tolerance else None,
                "draws_needed": told.draws_needed if quantity.tolerance else None,
            }
        )
    return entry


def empty_estimate(method: str, t: float | None, reasons: dict[str, str]) -> dict[str, Any]:
    """Return an entry without any size, with the reason for each."""
    numbers = dict.fromkeys((*SIZES, "deviance_per_df", "plateau", "floor"))
    return {"method": method, "t": t, **numbers, "reasons": reasons, "sizes": []}


def _draws(
    mine: Panel, quantity: Quantity, size: int, interval: Interval, reading: ParsedTable, t: float | None, method: str
) -> int:
    """Return the draws for each split behind an interval; 0 if seeds make it wide, so that more draws do not help."""
    own = mine.sum(mine.weights(quantity.signs, size).mean(0))
    if interval.high - interval.low > 1.2 * (own.high - own.low):
        return 0
    return draws_per_split(reading, method.partition("_")[0], quantity.signs, t, size)


def _learned(sizes: list[int], t: float | None, reading: ParsedTable, panel: PanelOf) -> list[bool | None]:
    """Return whether test recovery lies above coincidence at each size, at this t or at the t nearest to 0.1."""
    levels = sorted({t for kind, split, t in reading.points if (kind, split) == ("recovery", "test") and t is not None})
    if not levels:
        return [None] * len(sizes)
    t = reference(levels) if t is None else t
    tests, found = panel("recovery", t, "test"), []
    for size in sizes:
        level = mean_of(reading, "coincidence", "recovery", t, size)
        seeds = tests.seeds(size, "test")
        found.append(
            tests.mean(tests.weights({"test": 1.0}, size)).low > level if seeds and level is not None else None
        )
    return found
