"""N_mem and N_gen, and the fit of their curves."""

import re

import numpy as np
import pytest

from tests.support.simulated_sweeps import row
from tests.support.transition_tables import FINE, SIZES, TEST, TRAIN, both, entropies, entry
from uddm_lightning.transition import estimate
from uddm_lightning.transition.methods import deviance


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
