"""Estimates of each method at each t."""

from typing import Any

import pytest

from tests.support.transition_tables import FINE, SIZES, TEST, TRAIN, both
from uddm_lightning.results.panel import Panel
from uddm_lightning.results.parsed import parse
from uddm_lightning.results.reference import SIZES as NAMES
from uddm_lightning.transition.method_estimates import empty_estimate, estimates_of


def estimates(t: float) -> list[dict[str, Any]]:
    (table,) = parse([{**row, "t": str(t)} for row in both(SIZES, TRAIN, TEST, FINE)])

    def panel(kind: str, t: float | None, *splits: str) -> Panel:
        points = {split: table.points.get((kind, split, t), {}) for split in splits}
        return Panel({(split, *run): one.interval for split in splits for run, one in points[split].items()}, {})

    return estimates_of("recovery", table, panel, [])


def test_an_entry_without_sizes_has_its_reasons() -> None:
    found = empty_estimate("recovery", 0.1, {"n_half": "too few sizes"})
    assert (found["method"], found["t"], found["reasons"]) == ("recovery", 0.1, {"n_half": "too few sizes"})
    assert all(found[name] is None for name in NAMES)
    assert found["sizes"] == []


def test_transition_sizes_are_in_order_within_the_measured_sizes() -> None:
    (found,) = estimates(0.1)
    n_mem, n_half, n_gen = (found[name]["value"] for name in NAMES)
    assert SIZES[0] <= n_mem < n_half < n_gen <= SIZES[-1]
    assert [one["train_size"] for one in found["sizes"]] == list(SIZES)
    gaps = [train - test for train, test in zip(TRAIN, TEST, strict=True)]
    assert [one["value"] for one in found["sizes"]] == pytest.approx(gaps)


def test_nothing_is_estimated_where_nothing_of_a_row_is_left() -> None:
    (found,) = estimates(1.0)
    assert all(found[name] is None for name in NAMES)
    assert all("blank: nothing of a row is left" in reason for reason in found["reasons"].values())
