"""The content of transition.json: N* by every method, their agreement, and the trend of test recovery."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from uddm_lightning.intervals import NORMAL, student_t
from uddm_lightning.transition.curves import METHODS, Curve, Reading, Row, read
from uddm_lightning.transition.fit import FLAT, Fit, Means, fit_curve, means
from uddm_lightning.transition.linear import Line

TOLERANCE = 0.02  # gap of recovery that counts as none
RELATIVE = 0.05  # the same for entropy and NELBO, in heights of the transition
_BLANK = 0.999  # noise level from which on nothing of a row is left, so that it cannot be recalled
_SURE_OF_IT = 0.2  # nats; a flat entropy below it is that of a model that knows its rows
_MISSING = {
    "recovery": "recovery on train and test rows",
    "entropy": "entropy on train rows",
    "entropy_samples": "entropy on the model's own samples",
    "nelbo": "NELBO on train and test rows",
}


def estimate(rows: Iterable[Row]) -> dict[str, Any]:
    """Where the models of a sweep stop memorizing.

    N* is the size at which the gap of recovery, or of the NELBO, between train and test rows is half of its plateau at
    small sizes, and at which the entropy is half way between its plateaus. The onset is where 5 % of the way are gone,
    for the method `recovery` on the way of train recovery itself. Convergence is the smallest measured size from
    which on the interval of the gap reaches to within 0.02 of 0 (NELBO: 5 % of the plateau; entropy: to within 5 % of
    the height from the upper plateau).

    Args:
        rows: rows of a sweep's table, as `read_table` returns them.

    Returns:
        The content of transition.json, made of dicts, lists, strings, ints, floats, bools and None. What the data do
        not support is None, with the reason beside it and in the notes.
    """
    # an oracle is as good as it will be, whatever the size: it has no transition
    reading = read(row for row in rows if row.get("parameters") != "0")
    notes = list(reading.notes)
    backbones = {name: _backbone(name, reading, notes) for name in reading.parameters}
    if not backbones:
        notes.append("There are no measurements.")
    return {"backbones": backbones, "notes": notes}


def line(method: str) -> Line:
    """The levels that a method's curve can have: gaps end at 0, and none of recovery is above 1."""
    return Line(method.startswith("entropy"), 1.0 if method == "recovery" else math.inf)


def _backbone(name: str, reading: Reading, notes: list[str]) -> dict[str, Any]:
    curves = [curve for curve in reading.curves if curve.backbone == name]
    sides = {(curve.method, curve.t): curve for curve in reading.sides if curve.backbone == name}
    estimates = []
    for method in METHODS:
        mine = [curve for curve in curves if curve.method == method]
        estimates += [_estimate(curve, sides.get(("train recovery", curve.t)), notes) for curve in mine]
        if not mine:
            reason = f"missing: no {_MISSING[method]} was measured"
            estimates.append(_entry(method, None, None, reason))
            notes.append(f"{name}, {method}: {reason}.")
    seeds = {point.seed for curve in curves for point in curve.points}
    if len(seeds) == 1:
        notes.append(f"{name}: with one seed the intervals cover the sampling of sequences only, not the training.")
    return {
        "parameters": reading.parameters[name],
        "estimates": estimates,
        "agreement": _agreement(estimates),
        "trend": [
            _trend(sides[key], notes) for key in sorted(sides, key=lambda key: key[1] or 0.0) if "test" in key[0]
        ],
    }


def _estimate(curve: Curve, train: Curve | None, notes: list[str]) -> dict[str, Any]:
    """The entry of one curve; everything that is null gets a note."""
    name = f"{curve.backbone}, {curve.method}" + ("" if curve.t is None else f" at t = {curve.t:g}")
    if curve.t is not None and curve.t >= _BLANK:
        reason = "blank: nothing of a row is left at this t, so there is nothing to recall"
        notes.append(f"{name}: {reason}.")
        return _entry(curve.method, curve.t, None, reason)
    rising = curve.method.startswith("entropy")
    fit = fit_curve(curve.points, rising, line(curve.method))
    if fit.size is None:
        reason = (fit.reason or "") + (_regime(curve.method, fit.level) if (fit.reason or "").startswith(FLAT) else "")
        notes.append(f"{name}: N* is null; {reason}.")
        return _entry(curve.method, curve.t, fit, reason)
    entry = _entry(curve.method, curve.t, fit, None)

    onset = fit_curve(train.points, False, Line(True, 1.0)) if curve.method == "recovery" and train else fit
    entry["onset"] = onset.onset
    if onset.onset is None:
        notes.append(f"{name}: the onset is null; {onset.reason or 'it lies below the smallest size measured'}.")
    entry["convergence"] = _convergence(curve.method, means(curve.points), fit)
    if entry["convergence"] is None:
        notes.append(f"{name}: the convergence is null; the largest size has not converged.")
    return entry


def _entry(method: str, t: float | None, fit: Fit | None, reason: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"method": method, "t": t}
    for key in ("size", "low", "high"):
        entry[key] = getattr(fit, key, None)
    entry |= {"onset": None, "convergence": None}
    for key in ("plateau", "floor", "width", "kappa", "tail", "spread"):
        entry[key] = getattr(fit, key, None)
    return entry | {"reason": reason}


def _regime(method: str, level: float | None) -> str:
    """What a flat curve at this level means, as the end of a sentence."""
    level = level or 0.0
    if method.startswith("entropy"):
        where = "every" if level < _SURE_OF_IT else "no"
        return f"; at {level:.2g} nats the model memorizes at {where} size"
    where = "no" if abs(level) <= TOLERANCE else "every"
    return f"; with a gap of {level:.2g} the model memorizes at {where} size"


def _convergence(method: str, curve: Means, fit: Fit) -> int | None:
    """The smallest size from which on the interval reaches to within the tolerance of the level at large sizes."""
    assert fit.plateau is not None
    assert fit.floor is not None
    tolerance = TOLERANCE if method == "recovery" else RELATIVE * abs(fit.plateau - fit.floor)
    far_K = np.abs(curve.y_K - fit.floor) > tolerance + NORMAL * curve.sigma_K
    last = int(np.flatnonzero(far_K)[-1]) + 1 if far_K.any() else 0
    return curve.sizes[last] if last < len(curve.sizes) else None


def _agreement(estimates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each t, whether the intervals of recovery and entropy overlap, and how far the sizes are apart."""
    found = {(entry["method"], entry["t"]): entry for entry in estimates}
    rows = []
    for t in sorted({entry["t"] for entry in estimates if entry["method"] == "recovery" and entry["t"] is not None}):
        one, two = found[("recovery", t)], found.get(("entropy", t))
        row: dict[str, Any] = {"t": t, "recovery": one["size"], "entropy": two["size"] if two else None}
        if two is None or one["size"] is None or two["size"] is None:
            row |= {"overlap": None, "ratio": None}
        else:
            overlap = one["low"] <= two["high"] and two["low"] <= one["high"]
            row |= {"overlap": bool(overlap), "ratio": two["size"] / one["size"]}
        rows.append(row)
    return rows


def _trend(curve: Curve, notes: list[str]) -> dict[str, Any]:
    """Slope of test recovery per doubling of the size, by weighted least squares.

    With weights w = 1 / sigma^2 and x = log2 N, slope = sum w (x - x_mean) y / S, S = sum w (x - x_mean)^2; its
    variance is that of the residuals, sum w r^2 / (K - 2), over S, so that departures from the line count as noise.
    """
    data = means(curve.points)
    row: dict[str, Any] = {"t": curve.t, "slope": None, "low": None, "high": None}
    if len(data.sizes) < 3:
        notes.append(f"{curve.backbone}: the trend of test recovery at t = {curve.t:g} is null; 3 sizes are needed.")
        return row
    x_K, weight_K = np.log2(np.array(data.sizes, float)), data.sigma_K**-2.0
    x_K = x_K - (weight_K * x_K).sum() / weight_K.sum()
    square = float((weight_K * x_K**2).sum())
    slope = float((weight_K * x_K * data.y_K).sum()) / square
    residual_K = data.y_K - (weight_K * data.y_K).sum() / weight_K.sum() - slope * x_K
    df = len(data.sizes) - 2
    half = student_t(df) * math.sqrt(float((weight_K * residual_K**2).sum()) / df / square)
    return row | {"slope": slope, "low": slope - half, "high": slope + half}
