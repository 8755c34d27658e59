import math

import pytest

from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition import equivalence


@pytest.mark.parametrize(
    ("interval", "equivalent"),
    [
        ((0.0, -0.0199, 0.0199), True),
        ((0.0, -0.0199, 0.0201), None),
        ((0.0, -0.0201, 0.0199), None),
        ((0.01, -0.02, 0.019), None),
        ((0.054, 0.018, 0.092), None),
        ((0.054, 0.021, 0.092), False),
        ((-0.054, -0.092, -0.021), False),
        ((0.0, -1.0, 1.0), None),
        ((0.0, math.nan, math.nan), None),
    ],
)
def test_a_gap_is_equivalent_to_zero_only_with_the_whole_interval(
    interval: tuple[float, float, float], equivalent: bool | None
) -> None:
    assert equivalence(Interval(*interval), 0.02).equivalent is equivalent


@pytest.mark.parametrize("value", [0.0, 0.012, 0.03, -0.012, -0.03])
def test_the_needed_draws_suffice_and_one_eighth_less_do_not(value: float) -> None:
    """Half the width is proportional to one over the square root of the number of draws."""

    def after(draws: int) -> Interval:
        half = 0.03 * math.sqrt(512 / draws)
        return Interval(value, value - half, value + half)

    found = equivalence(after(512), 0.02, 512)
    assert found.equivalent is None
    assert found.draws_needed is not None
    assert equivalence(after(found.draws_needed + 1), 0.02).equivalent is not None
    assert equivalence(after(found.draws_needed * 7 // 8), 0.02).equivalent is None


def test_no_number_of_draws_is_given_if_none_suffices() -> None:
    wide = Interval(0.0, -0.03, 0.03)
    assert equivalence(wide, 0.02, 512).draws_needed == 1152
    assert equivalence(wide, 0.02, 0).draws_needed is None
    assert equivalence(Interval(0.02, 0.0, 0.04), 0.02, 512).draws_needed is None
    assert equivalence(Interval(0.0, -0.01, 0.01), 0.02, 512).draws_needed is None
    with pytest.raises(ValueError, match="`tolerance` must be above 0, got 0"):
        equivalence(wide, 0.0)
