"""The step at which a curve reaches a level, between two measured steps, before the first or not at all."""

import math

import pytest

from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.onset import onset

STEPS = [100, 200, 400, 800]


def curve(*values: float, half: float = 0.1) -> list[Interval]:
    return [Interval(value, value - half, value + half) for value in values]


def test_the_time_is_interpolated_in_the_logarithm_of_the_step() -> None:
    found = onset(STEPS, curve(0.0, 0.25, 0.75, 1.0), 0.5)
    assert found.low == found.high == pytest.approx(200 * math.sqrt(2))
    assert (found.after, found.by) == (200, 400)


def test_the_last_step_below_the_level_before_it_was_surely_reached_counts() -> None:
    found = onset(STEPS, curve(0.0, 0.55, 0.45, 1.0), 0.5)  # 0.55 (0.45 to 0.65) is not sure
    assert (found.after, found.by) == (400, 800)
    assert 400 < found.low < 500


def test_a_level_reached_by_the_first_step_has_no_lower_end() -> None:
    assert onset(STEPS, curve(0.8, 0.9, 1.0, 1.0), 0.5) == (0.0, 100.0, 0.0, 100.0)
    assert onset(STEPS, curve(0.55, 0.9, 1.0, 1.0), 0.5) == (0.0, 100.0, 0.0, 200.0)


def test_a_level_never_surely_reached_has_no_upper_end() -> None:
    assert onset(STEPS, curve(0.0, 0.1, 0.2, 0.3), 0.5) == (800.0, math.inf, 800.0, math.inf)
    assert onset(STEPS, curve(0.0, 0.1, 0.2, 0.55), 0.5) == (400.0, math.inf, 400.0, math.inf)
    assert onset(STEPS, curve(0.55, 0.55, 0.55, 0.55), 0.5) == (0.0, math.inf, 0.0, math.inf)
