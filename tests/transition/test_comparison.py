"""Ratios of transition sizes between models, against sizes with known intervals."""

import math

import numpy as np
import pytest

from uddm_lightning.transition.comparison import compared_with, comparisons, difference, ratio


def size(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def entry(parameters: int, **sizes: dict[str, float] | None) -> dict:
    known = dict.fromkeys(("n_mem", "n_half", "n_gen")) | sizes
    other = dict.fromkeys(known, size(1e9, 1e9, 1e9))
    estimates = [
        {"method": "recovery", "t": 0.5, **other},
        {"method": "recovery", "t": 0.1, **known},
        {"method": "nelbo", "t": None, **other},
    ]
    return {"parameters": parameters, "estimates": estimates}


def test_models_are_compared_with_the_control_or_with_the_smallest():
    assert compared_with({"wide": 200, "narrow": 100}) == "narrow"
    assert compared_with({"a": 100, "control": 300, "b": 100}) == "control"
    assert compared_with({"one": 100}) is None
    assert comparisons({"one": entry(1)}) == []
    found = comparisons({"wide": entry(2), "narrow": entry(1)})
    assert {(row["backbone"], row["to"]) for row in found} == {("wide", "narrow")}


def test_a_half_size_moves_if_the_interval_of_the_ratio_excludes_1():
    base = entry(1, n_half=size(64, 50, 80))
    (half,) = (row for row in comparisons({"a": base, "b": entry(2, n_half=size(128, 100, 160))}) if row["ratio"])
    assert half["size"] == "n_half"
    assert half["ratio"] == pytest.approx(2.0)
    assert half["moves"] is True
    assert 1 < half["low"] < 2 < half["high"]
    (half,) = (row for row in comparisons({"a": base, "b": entry(2, n_half=size(80, 64, 100))}) if row["ratio"])
    assert half["moves"] is None
    missing = comparisons({"a": base, "b": entry(2)})
    assert [row["reason"] for row in missing] == [
        "n_mem of a and b is null".replace("n_mem", "N_mem"),
        "N_half of b is null",
        "N_gen of a and b is null",
    ]


def test_measured_sizes_move_if_no_pair_in_their_intervals_is_alike():
    found = comparisons(
        {
            "a": entry(1, n_mem=size(32, 32, 64), n_gen=size(512, 128, 512)),
            "b": entry(2, n_mem=size(128, 128, 256), n_gen=size(2048, 512, 2048)),
        }
    )
    rows = {row["size"]: row for row in found}
    assert (rows["n_mem"]["ratio"], rows["n_mem"]["low"], rows["n_mem"]["high"]) == (4.0, 2.0, 8.0)
    assert rows["n_mem"]["moves"] is True
    assert (rows["n_gen"]["low"], rows["n_gen"]["high"], rows["n_gen"]["moves"]) == (1.0, 16.0, None)
    open_end = comparisons({"a": entry(1, n_mem=size(32, None, 64)), "b": entry(2, n_mem=size(128, 128, 256))})[0]
    assert (open_end["low"], open_end["high"], open_end["moves"]) == (2.0, None, True)


def test_the_interval_of_a_ratio_covers_it():
    """Two log-normal estimates with known standard errors, 20,000 times."""
    rng, sigmas, z = np.random.default_rng(0), (0.1, 0.25), 1.959964
    logs_2B = np.array([[math.log(100)], [math.log(300)]]) + np.array(sigmas)[:, None] * rng.standard_normal((2, 4000))
    hits = 0
    for pair in logs_2B.T:
        one, two = (
            size(math.exp(x), math.exp(x - z * s), math.exp(x + z * s)) for x, s in zip(pair, sigmas, strict=True)
        )
        found = ratio(two, one)
        hits += found.low <= 3.0 <= found.high
    assert 0.94 <= hits / 4000 <= 0.96


def test_a_difference_adds_independent_errors():
    assert difference((3.0, 0.0, 6.0), (1.0, -3.0, 5.0)) == pytest.approx((2.0, -3.0, 7.0))
