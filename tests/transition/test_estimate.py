import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from uddm_lightning.tables import read_table, update_table
from uddm_lightning.transition import Point, curves, estimate
from uddm_lightning.transition.fit import fit_curve
from uddm_lightning.transition.linear import Line
from uddm_lightning.transition.shapes import FORMS, fallen, sigmoid

from .simulation import GRIDS, Plan, row, sweeps, table

SIZES = GRIDS["x4"]
KEYS = {"method", "t", "size", "low", "high", "onset", "convergence", "reason"}


def points(values: list[float], sizes: tuple[int, ...] = SIZES, half: float = 0.03) -> list[Point]:
    return [Point(n, 0, v, v - half, v + half) for n, v in zip(sizes, values, strict=False)]


def both(sizes: tuple[int, ...], train: list[float], test: list[float], half: float = 0.02) -> list[dict[str, str]]:
    return [
        row(n, 0, "recovery", split, v, max(v - half, 0.0), min(v + half, 1.0))
        for split, values in (("train", train), ("test", test))
        for n, v in zip(sizes, values, strict=True)
    ]


def entry(result: dict[str, Any], method: str) -> dict[str, Any]:
    return next(e for e in result["backbones"]["DiT"]["estimates"] if e["method"] == method)


def sweep_rows() -> list[dict[str, str]]:
    plan = Plan(width=0.4, place=3.25)
    rows = table(plan, sweeps(plan, 1, np.random.default_rng(0)), 0)
    plan = plan._replace(method="entropy", place=3.3)
    return rows + table(plan, sweeps(plan, 1, np.random.default_rng(0)), 0)


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_a_sweep_becomes_the_content_of_transition_json(tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    update_table(path, sweep_rows())
    result = estimate(read_table(path))
    assert json.loads(json.dumps(result, allow_nan=False)) == result == estimate(read_table(path))
    assert set(result) == {"backbones", "notes"}
    backbone = result["backbones"]["DiT"]
    assert backbone["parameters"] == 1000
    for method in ("recovery", "entropy"):
        found = entry(result, method)
        assert found.keys() >= KEYS
        assert found["low"] < found["size"] < found["high"] < 1.5 * found["low"]
        assert found["size"] == pytest.approx(2 * 4**3.25, rel=0.25)
        assert SIZES[0] < found["onset"] < found["low"]
        assert found["high"] < found["convergence"] in SIZES
        assert found["reason"] is None
    (agreement,) = backbone["agreement"]
    assert agreement["overlap"] is True
    assert agreement["ratio"] == pytest.approx(1.0, abs=0.2)
    (trend,) = backbone["trend"]
    assert trend["low"] < trend["slope"] < trend["high"]
    assert any("one seed" in note for note in result["notes"])


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = sweep_rows()
    assert estimate(rows) == estimate(rows[::-1])


def test_the_trend_is_that_of_weighted_least_squares() -> None:
    test = [0.1, 0.15, 0.22, 0.2, 0.24, 0.28, 0.27]
    (trend,) = estimate(both(SIZES, [0.9] * 7, test))["backbones"]["DiT"]["trend"]
    judge = stats.linregress(np.log2(SIZES), test)
    half = stats.t.ppf(0.975, 5) * judge.stderr
    assert (trend["slope"], trend["high"] - trend["slope"]) == pytest.approx((judge.slope, half))


def test_onset_and_convergence_of_a_known_curve() -> None:
    sizes = GRIDS["x2"]
    s = sigmoid(np.log(sizes), math.log(100), 0.5, 1.0, 0.0)
    rows = both(sizes, list(0.2 + 0.8 * s), [0.2] * 13, half=0.004)
    found = entry(estimate(rows), "recovery")
    assert found["size"] == pytest.approx(100, rel=0.02)
    assert found["onset"] == pytest.approx(100 * 19**-0.5, rel=0.1)  # the logistic curve is at 0.95 there
    near = [n for n, value in zip(sizes, 0.8 * s, strict=True) if value < 0.02 + 0.004 * 2**0.5]
    assert found["convergence"] == near[0]


# --- what the data cannot support -------------------------------------------------------------------------------------

FALLING = [0.95, 0.93, 0.9, 0.5, 0.02, 0.0, 0.01]


@pytest.mark.parametrize(
    ("sizes", "gap", "reason"),
    [
        ((8,), [0.5], "only 1 size was measured"),
        ((8, 8192), [0.9, 0.0], "only 2 sizes were measured"),
        (SIZES, [0.9, 0.89, 0.9, 0.91, 0.9, 0.9, 0.89], "flat.*memorizes at every size"),
        (SIZES, [0.0, 0.01, 0.0, -0.01, 0.0, 0.0, 0.01], "flat.*memorizes at no size"),
        (SIZES, [0.0, 0.0, 0.1, 0.4, 0.7, 0.8, 0.8], "contradictory: the curve rises from size 2"),
        (SIZES, [0.9, 0.9, 0.2, 0.8, 0.2, 0.0, 0.0], "contradictory: the curve rises from size 32 to size 128"),
        (SIZES, [0.9, 0.91, 0.9, 0.89, 0.9, 0.85, 0.6], "not bracketed.*above the largest"),
        (SIZES, [0.3, 0.05, 0.01, 0.0, 0.0, 0.0, 0.0], "not bracketed.*below the smallest"),
    ],
)
def test_no_number_from_nowhere(sizes: tuple[int, ...], gap: list[float], reason: str) -> None:
    test = [0.05] * len(sizes)
    result = estimate(both(sizes, [a + b for a, b in zip(test, gap, strict=True)], test))
    found = entry(result, "recovery")
    assert [found[key] for key in ("size", "low", "high", "onset", "convergence")] == [None] * 5
    assert re.search(reason, found["reason"])
    assert any(found["reason"] in note for note in result["notes"])


def test_missing_splits_are_said() -> None:
    rows = [r for r in both(SIZES, FALLING, [0.0] * 7) if r["split"] == "train"]
    result = estimate(rows)
    for method in ("recovery", "entropy", "entropy_samples", "nelbo"):
        assert entry(result, method)["reason"].startswith("missing")
    assert result["backbones"]["DiT"]["agreement"] == []
    assert estimate([]) == {"backbones": {}, "notes": ["There are no measurements."]}


def test_nothing_is_recalled_where_nothing_is_left() -> None:
    values = [0.1, 0.1, 0.3, 1.2, 1.7, 1.7, 1.7]
    rows = [row(n, 0, "entropy", "train", v, v - 0.01, v + 0.01, t=1.0) for n, v in zip(SIZES, values, strict=True)]
    assert entry(estimate(rows), "entropy")["reason"].startswith("blank")


@pytest.mark.parametrize(("level", "regime"), [(0.01, "memorizes at every size"), (1.7, "memorizes at no size")])
def test_a_flat_entropy_is_read_by_its_level(level: float, regime: str) -> None:
    rows = [row(n, 0, "entropy", "train", level, level * 0.9, level * 1.1) for n in SIZES]
    assert regime in entry(estimate(rows), "entropy")["reason"]


def test_an_onset_below_the_sizes_and_a_late_convergence_are_null_with_a_note() -> None:
    sizes = (64, 128, 256, 512, 1024, 2048)
    gap = list(0.8 * sigmoid(np.log(sizes), math.log(300), 0.6, 1.0, 0.0))
    result = estimate(both(sizes, [0.2 + g for g in gap], [0.2] * 6, half=0.005))
    found = entry(result, "recovery")
    assert found["size"] == pytest.approx(300, rel=0.1)
    assert found["onset"] is None
    assert any("onset is null" in note for note in result["notes"])
    late = estimate(both(sizes[:5], [0.2 + g for g in gap[:5]], [0.2] * 5, half=0.005))
    assert entry(late, "recovery")["convergence"] is None
    assert any("convergence is null" in note for note in late["notes"])


def test_an_entropy_that_overshoots_is_no_contradiction() -> None:
    values = [0.0, 0.008, 0.3, 1.3, 1.77, 1.72, 1.69]
    fit = fit_curve(points(values), True, Line(True))
    assert fit.size is not None
    assert 32 < fit.low < fit.high < 128 * 1.2
    assert fit.high / fit.low < 4


def test_wide_intervals_at_tiny_sizes_do_no_harm() -> None:
    gap = [0.92, 0.90, 0.66, 0.07, 0.01, -0.02, -0.01]
    tight = points(gap, half=0.025)
    wide = [Point(2, 0, 0.92, -0.07, 0.93), Point(8, 0, 0.9, 0.5, 0.91), *tight[2:]]
    for measured in (tight, wide):
        fit = fit_curve(measured, False, Line(False, 1.0))
        assert fit.high / fit.low < 3
        assert 32 < fit.size < 80


# --- the fit against an independent one -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_fit_is_that_of_least_squares(form: tuple[float, float]) -> None:
    x = np.log(GRIDS["x2"])
    y = 1.7 - 1.6 * sigmoid(x, 4.4, 0.8, *form) + 0.01 * np.random.default_rng(5).standard_normal(13)
    fit = fit_curve(points(list(y), GRIDS["x2"], 0.01 * 1.96), True, Line(True))

    def curve(x: np.ndarray, base: float, height: float, crossing: float, width: float) -> np.ndarray:
        return base - height * sigmoid(x, crossing, width, fit.kappa, fit.tail)

    judge, _ = optimize.curve_fit(curve, x, y, (1.7, 1.6, 4.4, 0.8))
    # the judge minimizes, the estimate is the mean over the profile of all forms: close, measured in intervals
    assert abs(math.log(fit.size) - judge[2]) < 0.25 * math.log(fit.high / fit.low)
    assert fit.floor == pytest.approx(judge[0], abs=0.02)
    assert fit.plateau == pytest.approx(judge[0] - judge[1], abs=0.04)
    assert fit.width == pytest.approx(judge[3], rel=0.15)


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_half_way_at_the_crossing(form: tuple[float, float]) -> None:
    assert sigmoid(3.0, 3.0, 0.7, *form) == pytest.approx(0.5)
    for share in (0.05, 0.5, 0.9):
        assert sigmoid(fallen(share, 3.0, 0.7, *form), 3.0, 0.7, *form) == pytest.approx(1 - share)


def test_the_light_tailed_form_is_the_normal_distribution() -> None:
    z = np.linspace(-4, 4, 81)
    assert sigmoid(z, 0.0, 1 / 1.5976, 1.0, 0.0173) == pytest.approx(stats.norm.sf(z), abs=3e-4)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_curve_is_read_off_the_table() -> None:
    rows = both((8, 64), [0.9, 0.4], [0.1, 0.2], half=0.03)
    rows += [dict(r, weights="raw", recovery="0.5") for r in rows]
    rows += [dict(r, step="100") for r in rows]
    rows.append(row(8, 0, "nelbo", "test", 6.0, 5.5, 6.5))
    rows.append(row(8, 0, "nelbo", "train", 0.5, 0.4, 0.7))
    recovery, nelbo = curves(rows)
    assert (recovery.backbone, recovery.method, recovery.t) == ("DiT", "recovery", 0.1)
    assert [p.value for p in recovery.points] == pytest.approx([0.8, 0.2])
    assert recovery.points[0].low == pytest.approx(0.8 - 0.03 * 2**0.5)
    assert (nelbo.method, nelbo.t) == ("nelbo", None)
    assert nelbo.points[0].high == pytest.approx(5.5 + math.hypot(0.5, 0.1))


def test_what_is_left_out_is_noted() -> None:
    rows = both(SIZES, FALLING, [0.0] * 7)
    rows.append(row(16, 0, "recovery", "train", 0.9, 0.8, 1.0, step=500))
    rows += [dict(r, run=f"z{r['run']}", recovery="0.1") for r in rows[:1]]
    rows += [dict(r, chain="argmax-posterior") for r in rows[:7]]
    rows.append(row(8, 0, "entropy", "train", 0.1, None, None))
    notes = " ".join(estimate(rows)["notes"])
    for text in ("DiT-n16-s0 is left out, it stands at step 500 of 2000", "only ancestral is used", "more than once"):
        assert text in notes
    assert "entropy on train of 8 rows has no interval" in notes


def test_a_rate_without_an_interval_may_be_anything() -> None:
    rows = [row(1, 0, "recovery", "train", 1.0, None, None), row(1, 0, "recovery", "test", 0.1, 0.1, 0.1)]
    (curve,) = curves(rows)
    assert (curve.points[0].low, curve.points[0].high) == pytest.approx((-0.1, 0.9))


def test_the_reference_is_the_level_nearest_to_a_tenth() -> None:
    rows = [row(8, 0, "entropy", "train", 0.1, 0.0, 0.2, t=t) for t in (0.01, 0.07, 0.25)]
    assert [curve.t for curve in curves(rows, reference_only=True)] == [0.07]
    assert len(curves(rows)) == 3
