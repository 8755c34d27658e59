"""The most bits that a model has memorized, on curves with and without a plateau."""

import pytest

from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.capacity import agree, capacity, disagreements


def around(*values: float, half: float = 5.0) -> list[Interval]:
    return [Interval(value, value - half, value + half) for value in values]


@pytest.mark.parametrize(
    ("sizes", "bits", "size", "reason"),
    [
        ([8, 16, 32, 64], (50, 98, 100, 60), 32, ""),
        ([8, 16, 32, 64], (50, 80, 100, 97), 32, ""),
        ([8, 16, 32, 64], (50, 80, 100, 60), 32, "no smaller or larger size that is 2 times away reaches as much"),
        ([8, 16], (100, 20), 8, "no larger size that is 2 times away reaches as much"),
        ([8, 16, 32], (20, 50, 100), 32, "it is reached at the largest size, so larger ones may reach more"),
        ([8, 32, 40], (20, 98, 100), 40, "it is reached at the largest size, so larger ones may reach more"),
    ],
)
def test_a_plateau_is_two_sizes_within_each_others_intervals(sizes, bits, size, reason):
    found = capacity(sizes, around(*bits))
    assert found is not None
    assert (found.size, found.bits.value, found.reason) == (size, 100, reason)


def test_a_model_that_has_memorized_nothing_has_no_capacity():
    assert capacity([], []) is None
    assert capacity([8, 32], around(1.0, -20.0)) is None


def test_agreement_is_mutual():
    wide, narrow = Interval(10.0, 0.0, 20.0), Interval(12.0, 11.0, 13.0)
    assert agree(wide, wide)
    assert not agree(wide, narrow), "10 does not lie in 11 to 13"
    found = {"a": wide, "b": narrow, "c": Interval(11.5, 9.0, 14.0)}
    assert disagreements(found) == [("a", "b")]
