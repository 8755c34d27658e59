"""Compare the transition sizes of several models by their ratios."""

import math
from collections.abc import Mapping
from typing import Any

from uddm_lightning.results.reference import SIZES, reference
from uddm_lightning.stats.intervals import Interval, difference_interval

CONTROL = "control"  # the model with which others are compared, if there is one of this name


def compared_with(parameters: Mapping[str, int | None]) -> str | None:
    """Return the model with which all others are compared: `control`, else the one with the fewest parameters."""
    order = sorted(parameters, key=lambda name: (name != CONTROL, parameters[name] or 0, name))
    return order[0] if len(order) > 1 else None


def comparisons(backbones: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ratio of each transition size by recovery at the t nearest to 0.1 to that of the compared model.

    Errors of two models are taken to be independent. Models that share rows, noise and seeds have errors in common, so
    the intervals tend to be too wide. N_mem and N_gen are measured sizes, and the interval of their ratio reaches over
    all ratios of sizes in their intervals.

    Args:
        backbones: entries of transition.json by model, with `parameters` and `estimates`.

    Returns:
        An entry for each other model and each of N_mem, N_half and N_gen. `moves` is True if the interval of the ratio
        excludes 1, else None: a ratio of 1 is never proven. A missing ratio has a reason.
    """
    base = compared_with({name: entry["parameters"] for name, entry in backbones.items()})
    if base is None:
        return []
    rows = []
    for name in (name for name in backbones if name != base):
        pair = [_by_recovery(backbones[one]) for one in (base, name)]
        for size in SIZES:
            row: dict[str, Any] = {"backbone": name, "to": base, "size": size}
            row |= dict.fromkeys(("ratio", "low", "high", "moves", "reason"))
            lacking = [one for one, entry in zip((base, name), pair, strict=True) if not (entry and entry[size])]
            if lacking:
                rows.append(row | {"reason": f"{SIZES[size]} of {' and '.join(lacking)} is null"})
                continue
            one, two = (entry[size] for entry in pair if entry)
            found = ratio(two, one) if size == "n_half" else _all_ratios(two, one)
            moves = True if found.low > 1 or found.high < 1 else None
            ends = {key: None if math.isnan(end) else end for key, end in (("low", found.low), ("high", found.high))}
            rows.append(row | {"ratio": found.value, **ends, "moves": moves})
    return rows


def ratio(one: Mapping[str, float | None], two: Mapping[str, float | None]) -> Interval:
    """Return the ratio of the first size to the second, whose errors are independent.

    The interval is that of the difference of the logarithms; its ends are NaN where an end is not known.

    Example:
        >>> same = {"value": 64.0, "low": 32.0, "high": 128.0}
        >>> [round(bound, 3) for bound in ratio(same, same)]
        [1.0, 0.375, 2.665]
    """
    first, second = (Interval(*(_log(size[key]) for key in ("value", "low", "high"))) for size in (one, two))
    return Interval(*(math.exp(bound) for bound in difference_interval(first, second)))


def difference(one: tuple[float, float, float], two: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the first estimate minus the second with its interval, if their errors are independent."""
    found = difference_interval(Interval(*one), Interval(*two))
    return found.value, found.low, found.high


def _all_ratios(one: Mapping[str, float | None], two: Mapping[str, float | None]) -> Interval:
    def over(above: float | None, below: float | None) -> float:
        return math.nan if above is None or below is None else above / below

    value = over(one["value"], two["value"])
    return Interval(value, over(one["low"], two["high"]), over(one["high"], two["low"]))


def _log(value: float | None) -> float:
    return math.nan if value is None else math.log(value)


def _by_recovery(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the estimate by recovery at the t nearest to 0.1."""
    mine = {one["t"]: one for one in entry["estimates"] if one["method"] == "recovery" and one["t"] is not None}
    return mine[reference(mine)] if mine else None
