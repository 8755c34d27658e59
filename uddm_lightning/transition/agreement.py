"""Compare N_half of recovery with N_half of the entropy."""

import math
from typing import Any

_AGREE = 2.0  # ratio of sizes up to which two methods agree


def agreement(estimates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each t the ratio of N_half of the entropy to N_half of recovery, with its interval.

    `agree` is True if the interval of the ratio lies within a factor of 2. It is False if the interval excludes 1 and
    reaches beyond that factor. Otherwise it is None: intervals that overlap may just be wide.
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
