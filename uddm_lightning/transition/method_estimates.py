"""Estimate N_mem, N_half and N_gen by each method at each t."""

from typing import Any

from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import ParsedTable
from uddm_lightning.results.reference import SIZES, reference
from uddm_lightning.stats.intervals import NORMAL, Interval
from uddm_lightning.transition import methods
from uddm_lightning.transition.equivalence import equivalence
from uddm_lightning.transition.evidence import RATE, PanelOf, draws_per_split, mean_of, to_json
from uddm_lightning.transition.regimes import NOT_LEARNED

_BLANK = 0.999  # t from which on the noisy row holds no information about the row


def estimates_of(
    method: str, reading: ParsedTable, panel: PanelOf, regimes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the entries of one method, by t; `panel(kind, t, *splits)` gives the measurements."""
    kind, signs = method.partition("_")[0], methods.QUANTITIES[method].signs
    levels: list[float | None] = [None] if method == "nelbo" else list(reading.levels)
    panels = {t: panel(kind, t, *signs) for t in levels}
    return [_estimate(method, t, mine, reading, panel, regimes) for t, mine in panels.items() if mine.sizes(*signs)]


def _estimate(
    method: str, t: float | None, mine: Panel, reading: ParsedTable, panel: PanelOf, regimes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the entry of one curve."""
    if t is not None and t >= _BLANK:
        reason = "blank: nothing of a row is left at this t, so there is nothing to recall"
        return empty_estimate(method, t, dict.fromkeys(SIZES, reason))
    kind, quantity = method.partition("_")[0], methods.QUANTITIES[method]
    signs, tolerance = quantity.signs, quantity.tolerance
    sizes = mine.sizes(*signs)
    found: dict[str, tuple[Interval | None, str | None]] = {key: (None, methods.UNDEFINED.get(key)) for key in SIZES}
    if method == "recovery":
        found["n_mem"] = methods.memorized_up_to(
            sizes, [mine.mean(mine.weights({"train": 1.0}, size), RATE) for size in sizes]
        )
    half = methods.half_size(mine, quantity, saturated=found["n_mem"][0] is not None)
    found["n_half"] = half.size, half.reason
    curve = [mine.mean(mine.weights(signs, size), quantity.limits) for size in sizes]
    if tolerance is not None:
        found["n_gen"] = methods.generalizes_from(sizes, curve, _learned(sizes, t, reading, panel), tolerance)
    last = regimes[-1] if regimes and regimes[-1]["train_size"] >= sizes[-1] else None
    if last and last["regime"] == NOT_LEARNED:
        step = max(int(row["step"]) for row in reading.rows)
        why = last["reason"][:1].lower() + last["reason"][1:].rstrip(".")
        reason = f"the largest size, {sizes[-1]}, is not learned yet after {step} steps: {why}"
        found |= dict.fromkeys(("n_half",) if tolerance is None else ("n_half", "n_gen"), (None, reason))
    entry = empty_estimate(method, t, {key: reason for key, (_, reason) in found.items() if reason})
    entry |= {key: size and to_json(size) for key, (size, _) in found.items()}
    entry["deviance_per_df"] = half.deviance_per_df
    if half.size is not None:
        entry |= {"plateau": half.plateau, "floor": half.floor}
    for size, interval in zip(sizes, curve, strict=True):
        width, own = interval.high - interval.low, mine.sum(mine.weights(signs, size).mean(0))
        # where seeds make the interval wide, more draws do not help
        draws = 0 if width > 1.2 * (own.high - own.low) else draws_per_split(reading, kind, signs, t, size)
        comparison = equivalence(interval, tolerance or 1.0, draws)
        entry["sizes"].append(
            {
                "train_size": size,
                **to_json(interval),
                "sigma": width / (2 * NORMAL),
                "equivalent": comparison.equivalent if tolerance else None,
                "draws_needed": comparison.draws_needed if tolerance else None,
            }
        )
    return entry


def empty_estimate(method: str, t: float | None, reasons: dict[str, str]) -> dict[str, Any]:
    """Return an entry without any size, with the reason for each."""
    numbers = dict.fromkeys((*SIZES, "deviance_per_df", "plateau", "floor"))
    return {"method": method, "t": t, **numbers, "reasons": reasons, "sizes": []}


def _learned(sizes: list[int], t: float | None, reading: ParsedTable, panel: PanelOf) -> list[bool | None]:
    """Return whether test recovery lies above coincidence at each size, at this t or at the t nearest to 0.1."""
    if not reading.test_times:
        return [None] * len(sizes)
    t = reference(reading.test_times) if t is None else t
    tests, found = panel("recovery", t, "test"), []
    for size in sizes:
        level = mean_of(reading, "coincidence", "recovery", t, size)
        seeds = tests.seeds(size, "test")
        found.append(
            tests.mean(tests.weights({"test": 1.0}, size)).low > level if seeds and level is not None else None
        )
    return found
