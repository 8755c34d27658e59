"""The largest value of a curve, inside or at an end."""

import pytest

from uddm_lightning.transition.peak import peak


@pytest.mark.parametrize(
    ("values", "half", "size", "inside"),
    [
        ((5, 9, 6), 1.0, 32, True),
        ((5, 9, 6), 1.6, 32, False),
        ((5, 6, 9), 0.1, 512, False),
        ((9, 6, 5), 0.1, 2, False),
    ],
)
def test_a_peak_lies_surely_above_both_ends(values, half, size, inside):
    found = peak([2, 32, 512], [(value, value - half, value + half) for value in values])
    assert found is not None
    assert (found.size, found.value.value, found.is_surely_inside) == (size, 9, inside)


def test_two_sizes_have_no_peak():
    assert peak([2, 32], [(1.0, 0.0, 2.0), (3.0, 2.0, 4.0)]) is None
