import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tests.support import made_sweeps
from tests.support.simulated_sweeps import Plan, measured, parquet, row, tables
from tests.support.transition_tables import FINE, LEARNED, SIZES, TEST, TRAIN, Rows, both, entropies, entry, gaps
from uddm_lightning.results.parsed import parse
from uddm_lightning.results.tables import read_table, update_table
from uddm_lightning.stats.intervals import Interval, difference_interval, rate_interval
from uddm_lightning.transition import estimate
from uddm_lightning.transition.methods import DIFFER, UNDEFINED

# --- results ---------------------------------------------------------------------------------------------------


def test_a_sweep_becomes_the_content_of_transition_json(tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    rows = both(SIZES, TRAIN, TEST, FINE) + entropies([0.01, 0.02, 0.5, 1.3, 1.7, 1.72, 1.71])
    update_table(path, rows)
    result = estimate(rows)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert estimate(read_table(path))["backbones"].keys() == {"DiT"}
    assert set(result) == {"backbones", "headline", "comparison", "notes"}
    backbone = result["backbones"]["DiT"]
    assert set(backbone) == {"parameters", "seeds", "estimates", "regimes", "agreement", "trend", "over_steps"}
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
        "qualifier": "with one seed the interval covers the sampling of sequences only",
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


# --- unsupported quantities -------------------------------------------------------------------------------------


def test_missing_splits_are_reported() -> None:
    rows = [r for r in both(SIZES, TRAIN, TEST) if r["split"] == "train"]
    result = estimate(rows)
    for method in ("recovery", "entropy", "entropy_samples", "nelbo"):
        assert all(reason.startswith("missing") for reason in entry(result, method)["reasons"].values())
    assert result["backbones"]["DiT"]["agreement"] == []
    assert result["headline"] == {"DiT": None}
    assert estimate([]) == {"backbones": {}, "headline": {}, "comparison": [], "notes": ["There are no measurements."]}


# --- N_mem, N_gen and not learned yet ---------------------------------------------------------------------------------


# --- statements and when they are true --------------------------------------------------------------------------------


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
    (trend,) = (note for note in notes if "test recovery has no trend" in note)
    assert trend.startswith("DiT at t = 0.05, 0.1, 0.25, test recovery has no trend: a line does not fit")


# --- input -----------------------------------------------------------------------------------------------------


def test_an_oracle_has_no_transition(tmp_path: Path) -> None:
    rows = made_sweeps.with_oracle(made_sweeps.measurements(tmp_path))
    assert list(estimate(rows)["backbones"]) == ["DiT"]


@pytest.mark.parametrize(
    ("number", "places", "qualifier"),
    [
        ("n_mem", slice(0, 2), "no larger size was measured, so N_mem may be larger"),
        ("n_gen", slice(5, 7), "no smaller size was measured, so N_gen may be smaller"),
    ],
)
def test_a_size_at_the_end_of_the_measured_ones_is_qualified(number: str, places: slice, qualifier: str) -> None:
    headline = estimate(both(SIZES[places], TRAIN[places], TEST[places], FINE))["headline"]["DiT"]
    assert headline["estimate"] == number
    assert qualifier in headline["qualifier"]
