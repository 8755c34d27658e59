import json
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tests.support import made_sweeps
from tests.support.simulated_sweeps import GRIDS, Plan, measured, parquet, row, tables
from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import parse
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import read_table, update_table
from uddm_lightning.results.units import read_units, unit_keys
from uddm_lightning.stats.intervals import Interval, difference_interval, rate_interval
from uddm_lightning.transition import estimate
from uddm_lightning.transition.methods import DIFFER, UNDEFINED, deviance

SIZES = GRIDS["x4"]
LEARNED = {"coincidence": 0.02}
Rows = list[dict[str, str]]


def both(
    sizes: tuple[int, ...], train: list[float], test: list[float], half: float = 0.02, seed: int = 0, **more: object
) -> Rows:
    fields = {"n_draws": 512, "n_rows": 512} | LEARNED | more
    return [
        row(n, seed, "recovery", split, v, max(v - half, 0.0), min(v + half, 1.0), **fields)
        for split, values in (("train", train), ("test", test))
        for n, v in zip(sizes, values, strict=True)
    ]


def entropies(values: list[float], sizes: tuple[int, ...] = SIZES, half: float = 0.015, **more: object) -> Rows:
    pairs = zip(sizes, values, strict=False)
    return [row(n, 0, "entropy", "train", v, max(v - half, 0.0), v + half, n_draws=512, **more) for n, v in pairs]


def entry(result: dict[str, Any], method: str, t: float | None = 0.1) -> dict[str, Any]:
    return next(e for e in result["backbones"]["DiT"]["estimates"] if e["method"] == method and e["t"] in (t, None))


def gaps(result: dict[str, Any]) -> dict[int, Interval]:
    points = entry(result, "recovery")["sizes"]
    return {point["train_size"]: Interval(*(point[key] for key in ("value", "low", "high"))) for point in points}


# a typical sweep: memorizing, in transition, generalizing
TRAIN = [1.0, 0.999, 0.75, 0.33, 0.239, 0.241, 0.24]
TEST = [0.05, 0.09, 0.15, 0.22, 0.235, 0.24, 0.238]
FINE = 0.008  # half the width of an interval after 4,096 draws


# --- results ---------------------------------------------------------------------------------------------------


def test_a_sweep_becomes_the_content_of_transition_json(tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    rows = both(SIZES, TRAIN, TEST, FINE) + entropies([0.01, 0.02, 0.5, 1.3, 1.7, 1.72, 1.71])
    update_table(path, rows)
    result = estimate(rows)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert estimate(read_table(path))["backbones"].keys() == {"DiT"}
    assert set(result) == {"backbones", "headline", "notes"}
    backbone = result["backbones"]["DiT"]
    assert set(backbone) == {"parameters", "seeds", "estimates", "regimes", "agreement", "trend"}
    assert (backbone["parameters"], backbone["seeds"]) == (1000, [0])
    found = entry(result, "recovery")
    assert found["n_mem"] == {"value": 8.0, "low": 8.0, "high": 8.0}
    assert found["n_gen"] == {"value": 512.0, "low": 512.0, "high": 512.0}
    assert 32 < found["n_half"]["low"] < found["n_half"]["value"] < found["n_half"]["high"] < 128
    assert found["reasons"] == {}
    assert found["plateau"] == pytest.approx(0.95)
    assert found["floor"] == 0.0
    assert [point["equivalent"] for point in found["sizes"]] == [False] * 4 + [True] * 3
    assert entry(result, "entropy")["n_half"]["value"] == pytest.approx(50, rel=0.3)
    assert set(entry(result, "entropy")["reasons"]) == {"n_mem", "n_gen"}
    assert [regime["regime"] for regime in backbone["regimes"]] == [
        *["memorizing"] * 2,
        *["in transition"] * 2,
        *["generalizing"] * 3,
    ]
    assert result["headline"]["DiT"] == {
        "method": "recovery",
        "t": 0.1,
        "estimate": "n_half",
        **found["n_half"],
        "qualifier": "one seed: the interval covers the sampling of sequences only",
    }
    assert any("one seed" in note for note in result["notes"])
    assert result["notes"].count(DIFFER) == 1
    assert any("independent between sizes" in note for note in result["notes"])


def test_the_order_of_the_rows_does_not_matter() -> None:
    plan = Plan(draws=64, seeds=2)
    rows, draws = tables(plan, measured(plan, 1, plan.rng), 0)
    shuffled = draws.take(np.random.default_rng(0).permutation(len(draws)))
    assert estimate(rows, draws) == estimate(rows[::-1], shuffled)
    assert estimate(rows, draws) != estimate(rows)


def test_a_sweep_of_13_sizes_3_seeds_and_4096_draws_takes_seconds() -> None:
    plan = Plan("x2", draws=64, seeds=3)  # 64 draws as dictionaries, then 64 times as many as columns
    rows, draws = tables(plan, measured(plan, 1, plan.rng), 0)
    many = pa.concat_tables([draws] * 64)
    number = np.repeat(np.arange(64) * 64, len(draws)) + many["draw"].to_numpy()
    size = many["train_size"].to_numpy()
    train = np.array(many["split"].to_pylist()) == "train"
    for name, column in (("draw", number), ("row_id", np.where(train, number % size, number))):
        many = many.set_column(many.column_names.index(name), name, pa.array(column, pa.int64()))
    assert len(many) == 13 * 3 * 2 * 4096
    start = time.process_time()
    result = estimate(rows, many)
    assert time.process_time() - start < 10
    assert not any("independent between sizes" in note for note in result["notes"])


# --- one interval for a gap, from rows that are shared over sizes -----------------------------------------------------


def test_a_gap_has_one_interval() -> None:
    result = estimate(both(SIZES, TRAIN, TEST))
    found = gaps(result)
    (reading,) = parse(both(SIZES, TRAIN, TEST))
    train, test = (reading.points["recovery", split, 0.1] for split in ("train", "test"))
    for k, size in enumerate(SIZES):
        expected = difference_interval(train[size, 0].interval, test[size, 0].interval)
        assert found[size] == pytest.approx(expected)
        assert expected.value == pytest.approx(TRAIN[k] - TEST[k])
        regime = result["backbones"]["DiT"]["regimes"][k]
        assert regime["train"]["value"] == pytest.approx(TRAIN[k])
        assert Interval(**regime["gap"]) == found[size], "the regime is judged by the same interval"


def test_rows_shared_over_sizes_narrow_the_differences_of_sizes() -> None:
    """Test rows are equal at every size, so their errors correlate."""
    plan = Plan(draws=512, width=0.8)
    rows, draws = tables(plan, measured(plan, 1, plan.rng), 0)
    intervals = {
        (r["split"], int(r["train_size"]), 0): Interval(*(float(r[f"recovery{x}"]) for x in ("", "_low", "_high")))
        for r in rows
    }
    units = {(split, size, seed): one for (_, split, _, size, seed), one in read_units(draws, rows).items()}
    paired, apart = (Panel(intervals, known) for known in (units, {}))
    weights = paired.weights({"test": 1.0}, 8192)[0] - paired.weights({"test": 1.0}, 2)[0]
    one, other = (panel.sum(weights) for panel in (paired, apart))
    assert one.value == other.value
    assert one.high - one.low < 0.85 * (other.high - other.low)
    place = {split: [paired.place[split, size, 0] for size in SIZES] for split in ("train", "test")}
    across = paired.correlation_NN[np.ix_(place["train"], place["test"])]
    assert (across == 0).all(), "train rows are no test rows, though their numbers are the same"


def test_a_unit_is_a_draw_of_a_census_else_a_document_else_a_row() -> None:
    rows, draws, none = np.array([0, 1, 0, 1]), np.arange(4), np.full(4, -1)
    assert len(set(unit_keys(rows, draws, none, census=True))) == 4
    assert len(set(unit_keys(rows, draws, none, census=False))) == 2
    assert len(set(unit_keys(rows, draws, np.zeros(4, int), census=False))) == 1
    assert len(set(unit_keys(rows, draws, np.zeros(4, int), census=True))) == 4
    assert len(set(unit_keys(rows, draws, np.array([3, -1, 3, -1]), census=False))) == 2
    once = unit_keys(np.arange(4), draws, none, census=False)
    assert (once == unit_keys(np.arange(4), draws, none, census=True)).all(), "a census and a sample share rows"


# --- one more token -----------------------------------------------------------------------------------------


def eight(lost: int, draws: int = 512) -> tuple[Rows, Any]:
    """Return a sweep with eight memorized rows, of which `lost` of 1,565 tokens were not restored."""
    counts = np.full(draws, 3.0)
    counts[:29] += 1  # 1,565 tokens
    rng = np.random.default_rng(5)
    rows, table = [], []
    for size, train, test in zip(
        (8, 32, 128, 512, 2048), (1.0, 0.97, 0.34, 0.23, 0.24), (0.09, 0.1, 0.2, 0.23, 0.24), strict=True
    ):
        for split, rate in (("train", train), ("test", test)):
            hits = rng.binomial(counts.astype(int), rate).astype(float)
            if (size, split) == (8, "train"):
                hits[:lost] -= 1
            place = np.arange(draws)
            bounds = rate_interval(hits, counts)
            rows.append(row(size, 0, "recovery", split, *bounds, sampler_steps=40, n_draws=draws, **LEARNED))
            about = {
                "run": rows[-1]["run"],
                "backbone": "DiT",
                "train_size": size,
                "seed": 0,
                "metric": "recovery",
                "split": split,
            }
            about |= {"step": 2000, "weights": "ema", "t": 0.1, "sampler": "ancestral", "sampler_steps": 40}
            table += [
                {
                    **about,
                    "draw": int(u),
                    "row_id": int(u % size if split == "train" else u),
                    "recovered": hits[u],
                    "corrupted": counts[u],
                }
                for u in place
            ]
    return rows, parquet(table)


def test_one_more_recovered_token_widens_no_interval() -> None:
    all_, but_one = (estimate(*eight(lost)) for lost in (0, 1))
    sides = [result["backbones"]["DiT"]["regimes"][0]["train"] for result in (all_, but_one)]
    assert sides[0]["value"] == 1.0
    assert sides[1]["value"] == pytest.approx(1564 / 1565)
    assert sides[0]["low"] > 0.985
    assert sides[1]["low"] == pytest.approx(sides[0]["low"], abs=0.003)
    halves = [entry(result, "recovery")["n_half"] for result in (all_, but_one)]
    widths = [math.log(half["high"] / half["low"]) for half in halves]
    assert halves[0]["value"] == pytest.approx(halves[1]["value"], rel=0.01)
    assert widths[0] == pytest.approx(widths[1], rel=0.05)


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_seeds_enter_by_students_t() -> None:
    values = [0.20, 0.26, 0.32]
    rows = [r for s, v in enumerate(values) for r in both((8, 32, 128), [0.9, 0.5, v + 0.1], [0.1, 0.1, 0.1], 0.001, s)]
    found = gaps(estimate(rows))[128]
    assert found.value == pytest.approx(np.mean(values))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(values), rel=0.01)
    regime = estimate(rows)["backbones"]["DiT"]["regimes"][-1]
    assert [one["seed"] for one in regime["by_seed"]] == [0, 1, 2]


def test_intervals_stay_within_the_range_of_the_value() -> None:
    """Student's t for two seeds is wide."""
    rows = [r for s, v in enumerate((0.02, 0.05)) for r in both((8, 32), [0.999 - v / 9, v], [v, v], 0.001, s)]
    first, second = estimate(rows)["backbones"]["DiT"]["regimes"]
    assert second["train"]["low"] == second["test"]["low"] == 0.0
    assert first["train"]["high"] == 1.0
    rows = entropies([0.001]) + [dict(r, seed="1", run="DiT-n2-s1", entropy="0.1") for r in entropies([0.1])]
    (point,) = entry(estimate(rows), "entropy")["sizes"]
    assert point["low"] == 0.0


def test_n_half_is_the_mean_over_seeds() -> None:
    each = []
    rows: Rows = []
    for seed, middle in enumerate((0.4, 0.5, 0.6)):
        train = [1.0, 0.99, 0.1 + 0.9 * middle, 0.12, 0.1]
        mine = both((2, 8, 32, 128, 512), train, [0.1] * 5, 0.004, seed)
        rows += mine
        each.append(math.log(entry(estimate(mine), "recovery")["n_half"]["value"]))
    half = entry(estimate(rows), "recovery")["n_half"]
    assert math.log(half["value"]) == pytest.approx(np.mean(each), abs=1e-6)
    assert math.log(half["high"] / half["value"]) == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(each), rel=0.2)


# --- unsupported quantities -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "gap", "reason"),
    [
        ((8,), [0.5], "only 1 size was measured"),
        ((8, 8192), [0.9, 0.0], "only 2 sizes were measured"),
        (SIZES, [0.8, 0.79, 0.8, 0.81, 0.8, 0.8, 0.79], "flat: the curve does not fall clearly above its noise"),
        (SIZES, [0.0, 0.01, 0.0, -0.01, 0.0, 0.0, 0.01], "flat"),
        (SIZES, [0.0, 0.0, 0.1, 0.4, 0.7, 0.8, 0.8], "contradictory: the curve rises from size 2 to size 8192"),
        (SIZES, [0.8, 0.8, 0.2, 0.7, 0.2, 0.0, 0.0], "misfit: the curve rises from size 32 to size 128; the deviance"),
        (SIZES, [0.8, 0.81, 0.8, 0.79, 0.8, 0.75, 0.6], "not bracketed: at size 8192 the gap is still"),
        (SIZES, [0.8, 0.6, 0.3, 0.1, 0.0, 0.0, 0.0], "not bracketed: from size 2 to size 8 the curve falls by 25%"),
        ((2, 3, 4), [0.8, 0.4, 0.0], "not bracketed: no second size shows whether size 2 is on a plateau"),
    ],
)
def test_unsupported_quantities_are_null(sizes: tuple[int, ...], gap: list[float], reason: str) -> None:
    test = [0.05] * len(sizes)
    result = estimate(both(sizes, [a + b for a, b in zip(test, gap, strict=True)], test))
    found = entry(result, "recovery")
    assert found["n_half"] is None
    assert re.search(reason, found["reasons"]["n_half"])
    assert any(found["reasons"]["n_half"] in note for note in result["notes"])


def test_a_seed_without_three_sizes_has_no_half() -> None:
    rows = both((2, 32), [0.9, 0.1], [0.1, 0.1]) + both((8, 128), [0.9, 0.1], [0.1, 0.1], seed=1)
    result = estimate(rows)
    assert entry(result, "recovery")["reasons"]["n_half"] == "no seed has the 3 sizes that are needed"
    assert not any("with one seed" in note for note in result["notes"])


def test_a_curve_that_rises_by_1_6_nats_is_not_flat() -> None:
    values = [0.000, 0.029, 0.877, 1.403, 1.649]
    found = entry(estimate(entropies(values)), "entropy")
    assert found["n_half"] is None
    assert found["reasons"]["n_half"] == "not bracketed: from size 128 to size 512 the curve rises by 15% of its height"
    seen = entry(estimate(entropies([*values, 1.66], (*SIZES[:5], 2048))), "entropy")
    assert 20 < seen["n_half"]["low"] < seen["n_half"]["high"] <= 32
    assert (seen["plateau"], seen["floor"]) == (0.0, pytest.approx(1.66)), "levels are measured, never extrapolated"


def test_the_deviance_is_that_of_isotonic_regression() -> None:
    y, sigma = np.array([1.0, 1.1, 0.5, 0.6, 0.7, 0.0]), np.full(6, 0.1)
    fit = np.array([1.05, 1.05, 0.6, 0.6, 0.6, 0.0])
    assert deviance(y, sigma) == pytest.approx((((y - fit) / sigma) ** 2).sum() / 3)
    assert deviance(np.array([3.0, 2.0, 1.0]), np.ones(3)) == 0.0
    found = entry(estimate(entropies([0.0, 0.01, 0.3, 1.3, 1.77, 1.72, 1.69])), "entropy")
    assert found["n_half"] is not None, "an entropy that overshoots its plateau a little is half way where it is"
    assert found["deviance_per_df"] > 5


def test_a_single_size_at_the_limit_is_a_plateau() -> None:
    """Adaptive sizes may measure a single one; train recovery of 0.95 cannot rise much."""
    sizes = (8, 40, 60, 80, 8192)
    rows = both(sizes, [0.99, 0.6, 0.5, 0.4, 0.24], [0.09, 0.2, 0.2, 0.2, 0.24])
    assert entry(estimate(rows), "recovery")["n_half"] is not None
    rows = both(sizes, [0.90, 0.6, 0.5, 0.4, 0.24], [0.09, 0.2, 0.2, 0.2, 0.24])
    assert "from size 8 to size 40" in entry(estimate(rows), "recovery")["reasons"]["n_half"]


def test_missing_splits_are_reported() -> None:
    rows = [r for r in both(SIZES, TRAIN, TEST) if r["split"] == "train"]
    result = estimate(rows)
    for method in ("recovery", "entropy", "entropy_samples", "nelbo"):
        assert all(reason.startswith("missing") for reason in entry(result, method)["reasons"].values())
    assert result["backbones"]["DiT"]["agreement"] == []
    assert result["headline"] == {"DiT": None}
    assert estimate([]) == {"backbones": {}, "headline": {}, "notes": ["There are no measurements."]}


def test_n_half_by_entropy_is_null_on_pure_noise() -> None:
    found = entry(estimate(entropies([0.1, 0.1, 0.3, 1.2, 1.7, 1.7, 1.7], t=1.0)), "entropy", 1.0)
    assert found["reasons"]["n_half"].startswith("blank")


# --- N_mem, N_gen and not learned yet ---------------------------------------------------------------------------------


def test_n_mem_is_the_last_of_all_that_memorize() -> None:
    found = entry(estimate(both((2, 8, 32, 128), [1.0, 0.94, 0.92, 0.5], [0.1] * 4)), "recovery")
    assert found["n_mem"] == {"value": 2.0, "low": 2.0, "high": 8.0}, "at 8 rows it may be above 0.95, and is not"
    assert found["reasons"].get("n_mem") is None
    edge = entry(estimate(both((2, 8, 32), [0.96, 0.9, 0.5], [0.1] * 3)), "recovery")
    assert edge["n_mem"] == {"value": 2.0, "low": None, "high": 2.0}
    assert "it may lie below the smallest size, 2" in edge["reasons"]["n_mem"]
    none = entry(estimate(both((2, 8, 32), [0.9, 0.9, 0.9], [0.1] * 3)), "recovery")
    assert none["n_mem"] is None
    assert "0.900 at the smallest size, 2" in none["reasons"]["n_mem"]


def test_n_gen_needs_all_larger_sizes_and_something_learned() -> None:
    sizes = (8, 128, 512, 2048, 8192)
    test = [0.1, 0.2, 0.2, 0.2, 0.2]
    gap = [0.9, 0.0, 0.1, 0.0, 0.005]
    rows = both(sizes, [a + b for a, b in zip(gap, test, strict=True)], test, FINE)
    assert entry(estimate(rows), "recovery")["n_gen"]["value"] == 2048, "512 is not, whatever 128 is"
    wide = both(sizes, [a + b for a, b in zip(gap, test, strict=True)], test, 0.03)
    found = entry(estimate(wide), "recovery")
    assert found["n_gen"] is None, "with wide intervals nothing converges sooner"
    assert "not equivalent to 0 within 0.02" in found["reasons"]["n_gen"]
    assert found["sizes"][-1]["equivalent"] is None
    assert found["sizes"][-1]["draws_needed"] > 512
    unknown = [dict(r, coincidence="") for r in rows]
    assert "not known" in entry(estimate(unknown), "recovery")["reasons"]["n_gen"]


def test_n_half_and_n_gen_are_null_if_the_largest_size_is_not_learned() -> None:
    train, test = [1.0, 0.99, 0.6, 0.1, 0.055, 0.055, 0.055], [0.05] * 6 + [0.053]
    result = estimate(both(SIZES, train, test, FINE, coincidence=0.0756, step=400))
    found = entry(result, "recovery")
    for key in ("n_half", "n_gen"):
        assert found[key] is None
        assert re.match("the largest size, 8192, is not learned yet after 400 steps: ", found["reasons"][key])
    assert found["n_mem"]["value"] == 8
    assert result["backbones"]["DiT"]["regimes"][-1]["regime"] == "not learned yet"
    assert result["headline"]["DiT"]["estimate"] == "n_mem"
    assert "size 8192 is not learned yet" in result["headline"]["DiT"]["qualifier"]


def test_the_nelbo_generalizes_where_train_and_test_are_equivalent() -> None:
    rows = both(SIZES, TRAIN, TEST, FINE)
    for n, gap in zip(SIZES, [9.0, 8.9, 4.0, 1.0, 0.1, 0.01, 0.01], strict=True):
        rows.append(row(n, 0, "nelbo", "test", 2.3 + gap, 2.29 + gap, 2.31 + gap, n_draws=512))
        rows.append(row(n, 0, "nelbo", "train", 2.3, 2.29, 2.31, n_draws=512))
    found = entry(estimate(rows), "nelbo", None)
    assert found["n_gen"]["value"] == 2048
    assert found["n_mem"] is None
    assert found["n_half"]["value"] == pytest.approx(30, rel=0.3)
    assert found["plateau"] == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("falling_by_seed", "qualifiers"),
    [
        ((True, False), ["training was not at its end"]),
        ((True, None), ["training was not at its end"]),
        ((False, False), []),
        ((None, None), []),
    ],
)
def test_a_nelbo_that_still_falls_is_a_qualifier(
    falling_by_seed: tuple[bool | None, ...], qualifiers: list[str]
) -> None:
    rows: Rows = []
    for seed, falling in enumerate(falling_by_seed):
        rows += both(SIZES, TRAIN, TEST, FINE, seed)
        rows.append(row(8192, seed, "nelbo", "test", 2.3, 2.2, 2.4, nelbo_falling=falling))
    result = estimate(rows)
    assert result["backbones"]["DiT"]["regimes"][-1]["qualifiers"] == qualifiers
    said = "training was not at its end at size 8192" in result["headline"]["DiT"]["qualifier"]
    assert said == bool(qualifiers)


@pytest.mark.parametrize("falling", [True, False, None])
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_the_falling_nelbo_is_read_from_its_column(falling: bool | None, way: float) -> None:
    """The column is used instead of the means of three validations, because `falling` compares draw by draw."""
    rows = both(SIZES, TRAIN, TEST, FINE)
    for step, nelbo in ((1000, 2.3 - way / 2), (1500, 2.3 - way / 4), (2000, 2.3)):
        values = nelbo, nelbo - 0.01, nelbo + 0.01
        rows.append(row(8192, 0, "nelbo", "test", *values, step=step, nelbo_falling=falling if step == 2000 else None))
    qualifiers = estimate(rows)["backbones"]["DiT"]["regimes"][-1]["qualifiers"]
    assert qualifiers == (["training was not at its end"] if falling else [])


# --- statements and when they are true --------------------------------------------------------------------------------


def test_the_trend_is_that_of_least_squares_where_a_line_fits() -> None:
    test = [0.10, 0.12, 0.15, 0.17, 0.19, 0.215, 0.23]
    (trend,) = estimate(both(SIZES, [0.9] * 7, test))["backbones"]["DiT"]["trend"]
    judge = stats.linregress(np.log2(SIZES), test)
    assert trend["slope"] == pytest.approx(judge.slope, rel=1e-3)
    half = 1.96 * 0.02 / 1.96 / np.sqrt(((np.log2(SIZES) - np.log2(SIZES).mean()) ** 2).sum())
    assert trend["high"] - trend["slope"] == pytest.approx(half, rel=0.01)
    assert trend["deviance_per_df"] < 1
    assert trend["reason"] is None


def test_there_is_no_trend_if_test_recovery_has_a_peak() -> None:
    test = [0.05, 0.10, 0.16, 0.22, 0.26, 0.25, 0.24]
    result = estimate(both(SIZES, [0.9] * 7, test, 0.01))
    (trend,) = result["backbones"]["DiT"]["trend"]
    assert (trend["slope"], trend["low"], trend["high"]) == (None, None, None)
    assert re.search(r"a line does not fit.*is largest at size 512", trend["reason"])
    (short,) = estimate(both((8, 32), [0.9] * 2, [0.1, 0.2]))["backbones"]["DiT"]["trend"]
    assert short["reason"] == "3 sizes are needed"


def test_a_note_for_every_t_is_given_once() -> None:
    times = (0.05, 0.1, 0.25)
    rows = [one for t in times for one in both(SIZES, [0.9] * 7, TEST, t=t)]
    rows += [one for t in times for one in entropies([0.01, 0.02, 0.5, 1.3, 1.7, 1.72, 1.71], t=t)]
    result = estimate(rows)
    notes = result["notes"]
    assert len(notes) == len(set(notes))
    for key, name in (("n_mem", "N_mem"), ("n_gen", "N_gen")):
        assert [note for note in notes if UNDEFINED[key] in note] == [
            f"DiT, entropy at t = 0.05, 0.1, 0.25, {name} is null: {UNDEFINED[key]}."
        ]
    (mem,) = (note for note in notes if "at the smallest size, 2, and not 0.95" in note)
    assert mem.startswith("DiT, recovery at t = 0.05, 0.1, 0.25, N_mem is null: train recovery is 0.900")
    (trend,) = (note for note in notes if "the trend of test recovery is null" in note)
    assert trend.startswith("DiT at t = 0.05, 0.1, 0.25, the trend of test recovery is null: a line does not fit")


@pytest.mark.parametrize(
    ("entropy", "half", "agree", "reason"),
    [
        ([0.01, 0.02, 0.4, 1.5, 1.7, 1.72, 1.71], 0.015, True, None),
        ([0.01, 1.5, 1.7, 1.7, 1.7, 1.72, 1.71], 0.015, False, None),
        ([0.01, 0.02, 0.03, 1.69, 1.7, 1.72, 1.71], 0.015, None, "the ratio may be"),
        ([0.01, 0.02, 0.4, 1.0, 1.2, 1.4, 1.71], 0.015, None, "N_half of entropy is null"),
    ],
)
def test_methods_agree_only_where_their_ratio_is_known(
    entropy: list[float], half: float, agree: bool | None, reason: str | None
) -> None:
    rows = both(SIZES, TRAIN, TEST, FINE) + entropies(entropy, half=half)
    (found,) = estimate(rows)["backbones"]["DiT"]["agreement"]
    assert found["agree"] is agree
    assert found["reason"] is None if reason is None else reason in found["reason"]


# --- input -----------------------------------------------------------------------------------------------------


def test_a_curve_is_read_from_the_table() -> None:
    rows = both((8, 64), [0.9, 0.4], [0.1, 0.2], half=0.03)
    rows += [dict(r, weights="raw", recovery="0.5") for r in rows]
    rows += [dict(r, step="100") for r in rows]
    rows.append(row(8, 0, "nelbo", "test", 6.0, 5.5, 6.5))
    rows.append(row(8, 0, "nelbo", "train", 0.5, 0.4, 0.7))
    result = estimate(rows)
    recovery, nelbo = entry(result, "recovery")["sizes"], entry(result, "nelbo", None)["sizes"]
    assert [one["value"] for one in recovery] == pytest.approx([0.8, 0.2])
    assert recovery[0]["low"] == pytest.approx(0.8 - 0.03 * 2**0.5)
    expected = difference_interval((6.0, 5.5, 6.5), (0.5, 0.4, 0.7))
    assert [nelbo[0][end] for end in ("value", "low", "high")] == pytest.approx(list(expected))


def test_omitted_rows_are_noted() -> None:
    rows = both(SIZES, TRAIN, TEST)
    rows.append(row(16, 0, "recovery", "train", 0.9, 0.8, 1.0, step=500))
    rows += [dict(r, run=f"z{r['run']}", recovery="0.1") for r in rows[:1]]
    rows += [dict(r, sampler="argmax-posterior") for r in rows[:7]]
    rows.append(row(8, 0, "entropy", "train", 0.1, None, None))
    notes = " ".join(estimate(rows)["notes"])
    for text in ("DiT-n16-s0 is left out, it stands at step 500 of 2000", "only ancestral is used", "more than once"):
        assert text in notes
    assert "entropy on train of 8 rows has no interval" in notes


def test_a_metric_of_other_weights_is_noted() -> None:
    rows = [dict(r, weights="raw") for r in both(SIZES, TRAIN, TEST)] + entropies([0.1] * len(SIZES))
    note = "DiT: recovery was measured of the raw weights only, other kinds of the averaged ones; it is left out."
    assert note in estimate(rows)["notes"]
    assert not [note for note in estimate(rows[: 2 * len(SIZES)])["notes"] if "raw weights" in note]


def test_a_rate_without_an_interval_may_be_anything() -> None:
    rows = [row(1, 0, "recovery", "train", 1.0, None, None), row(1, 0, "recovery", "test", 0.1, 0.1, 0.1)]
    (gap,) = entry(estimate(rows), "recovery")["sizes"]
    assert gap["low"] <= 0
    assert gap["high"] >= 0.9


def test_the_reference_is_the_level_nearest_to_a_tenth() -> None:
    rows = [row(8, 0, "entropy", "train", 0.1, 0.0, 0.2, t=t) for t in (0.01, 0.07, 0.25)]
    assert reference(parse(rows)[0].levels) == 0.07


def test_an_oracle_has_no_transition(tmp_path: Path) -> None:
    rows = made_sweeps.with_oracle(made_sweeps.measurements(tmp_path))
    assert list(estimate(rows)["backbones"]) == ["DiT"]
