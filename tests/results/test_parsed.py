"""A table that is parsed, and notes on rows that are left out."""

import pytest

from tests.support.simulated_sweeps import row
from tests.support.transition_tables import SIZES, TEST, TRAIN, both, entropies, entry
from uddm_lightning.stats.intervals import difference_interval
from uddm_lightning.transition import estimate


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
