import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.simulated_sweeps import GRIDS, row
from uddm_lightning.stats.intervals import rate_interval
from uddm_lightning.transition import estimate, next_sizes

DENSE, BUDGET = GRIDS["x2"], 6


def measured(sizes: list[int], truth: float, width: float, rng: np.random.Generator) -> list[dict[str, str]]:
    """Return rows of runs whose recovery gap falls from 0.78 to 0 around ln N_half = truth, with 1,024 draws each."""
    rows = []
    for size in sizes:
        s = 1 / (1 + math.exp(min((math.log(size) - truth) / width, 500)))
        test = 0.22 - 0.02 * s
        for split, rate in (("train", test + 0.78 * s), ("test", test)):
            trials = rng.poisson(3, 1024)
            rows.append(
                row(size, 0, "recovery", split, *rate_interval(rng.binomial(trials, rate), trials), coincidence=0.02)
            )
    return rows


def interval(rows: list[dict[str, str]]) -> float:
    """Return the width of the interval in ln N; infinite without an estimate."""
    half = estimate(rows)["backbones"]["DiT"]["estimates"][0]["n_half"]
    return math.log(half["high"] / half["low"]) if half else math.inf


def adaptive(truth: float, width: float, rng: np.random.Generator, budget: int = BUDGET) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    while sizes := next_sizes(rows, DENSE[0], DENSE[-1], budget):
        rows += measured(sizes, truth, width, rng)
    return rows


@pytest.mark.slow
def test_half_of_the_runs_give_about_the_same_interval() -> None:
    ratios, widths = [], []
    for seed in range(100):
        rng = np.random.default_rng([7, seed])
        width = math.exp(rng.uniform(math.log(0.15), math.log(0.9)))  # 0.2 to 1.3 spacings of the dense grid
        truth = rng.uniform(math.log(60), math.log(1200))  # all sizes show both plateaus
        dense = interval(measured(list(DENSE), truth, width, rng))
        ratios.append(interval(adaptive(truth, width, rng)) / dense)
        widths.append(width)
    ratio, width = np.array(ratios), np.array(widths)
    print("width of the transition, curves, median ratio, 90 %, share up to 1.1")  # noqa: T201 the evidence
    for low, high in ((0.15, 0.3), (0.3, 0.5), (0.5, 0.9), (0.15, 0.9)):
        part = ratio[(width >= low) & (width < high)]
        figures = np.median(part), np.quantile(part, 0.9, method="higher"), (part <= 1.1).mean()
        print(f"{low} to {high}", len(part), *(f"{figure:.2f}" for figure in figures))  # noqa: T201 as above
    assert np.median(ratio) <= 1.0
    assert (ratio <= 1.1).mean() >= 0.6
    assert np.median(ratio[width < 0.3]) <= 0.75


def test_runs_are_added_near_the_transition() -> None:
    rows = adaptive(math.log(200), 0.3, np.random.default_rng(0))
    sizes = sorted({int(r["train_size"]) for r in rows})
    assert len(sizes) == BUDGET
    assert sizes[0] == 2
    assert sizes[-1] == 8192
    assert sum(50 < size < 800 for size in sizes) >= 3
    assert interval(rows) < math.log(2)


@settings(max_examples=20, deadline=None)
@given(
    low=st.integers(1, 50),
    ratio=st.integers(2, 500),
    budget=st.integers(1, 8),
    taken=st.sets(st.integers(1, 3000), max_size=4),
    size=st.integers(0, 5),
)
def test_proposals_are_new_within_range_and_budget(
    low: int, ratio: int, budget: int, taken: set[int], size: int
) -> None:
    high = low * ratio
    sizes = sorted({round(s) for s in np.geomspace(low, high, size)}) if size else []
    rows = measured(sizes, math.log(low * high) / 2, 0.4, np.random.default_rng(0))
    proposed = next_sizes(rows, low, high, budget, taken)
    assert proposed == next_sizes(rows[::-1], low, high, budget, taken)
    assert proposed == sorted(set(proposed))
    assert not set(proposed) & (taken | set(sizes))
    assert len(proposed) <= max(0, budget - len(taken | set(sizes)))
    assert all(low <= s <= high for s in proposed)


def test_the_first_round_measures_the_ends() -> None:
    assert next_sizes([], 2, 8192, 6) == [2, 8192]
    assert next_sizes([], 2, 8192, 2) == [2, 8192]
    assert next_sizes([], 2, 8192, 1) == [8192]
    assert next_sizes([], 2, 8192, 6, taken=[2]) == [8192]
    assert next_sizes([], 2, 8192, 3, taken=[2, 128, 8192]) == []
    assert next_sizes([], 2, 3, 6, taken=[2, 3]) == []


def test_without_any_curve_the_widest_interval_is_halved() -> None:
    (size,) = next_sizes([], 2, 8192, 6, taken=[2, 128, 8192])
    assert 10 < size < 1000


@pytest.mark.parametrize(("low", "high", "budget"), [(0, 8, 1), (8, 8, 1), (2, 8, 0)])
def test_invalid_ranges_are_refused(low: int, high: int, budget: int) -> None:
    with pytest.raises(ValueError, match=r"must (satisfy|be at least)"):
        next_sizes([], low, high, budget)
