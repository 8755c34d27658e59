"""N_half by the profile likelihood of a sigmoid curve."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from tests.support.transition_tables import SIZES, Rows, both, entropies, entry
from uddm_lightning.transition import estimate


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


def test_n_half_by_entropy_is_null_on_pure_noise() -> None:
    found = entry(estimate(entropies([0.1, 0.1, 0.3, 1.2, 1.7, 1.7, 1.7], t=1.0)), "entropy", 1.0)
    assert found["reasons"]["n_half"].startswith("blank")
