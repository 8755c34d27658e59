"""Intervals of differences over sizes, from rows that sizes share."""

import numpy as np

from tests.support.simulated_sweeps import Plan, measured, tables
from tests.support.transition_tables import SIZES
from uddm_lightning.results.panel import Panel
from uddm_lightning.results.units import read_units, unit_keys
from uddm_lightning.stats.intervals import Interval


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
