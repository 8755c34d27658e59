"""Parsing of `--sizes`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uddm_lightning.core.errors import InputError
from uddm_lightning.data.subset import num_rows
from uddm_lightning.sweeps.sizes import parse


def rows(size: int | float) -> int:
    return num_rows(size, 100_000)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("8,64,512", [8, 64, 512]),
        ("2:8192:x4", [2, 8, 32, 128, 512, 2048, 8192]),
        ("2:100:x4", [2, 8, 32]),
        ("1:1:x2", [1]),
        ("64, 8, 64", [8, 64]),
        ("0.001,1.0", [100, 100_000]),
        ("0.0001:0.01:x10", [10, 100, 1000]),
        ("1,1.0", [1, 100_000]),
        ("2:8:x2,1e-3", [2, 4, 8, 100]),
        ("3:100:x1.5", [3, 4, 7, 10, 15, 23, 34, 51, 77]),
    ],
)
def test_sizes_are_rows_in_order(text, sizes):
    assert parse(text, rows) == sizes


@pytest.mark.parametrize(
    "text",
    ["", "many", "2:8", "2:8:4", "8:2:x2", "2:8:x1", "0:8:x2", "2:0.5:x2", "2:8:xinf", "0", "1.5", "200000", "-3"],
)
def test_an_invalid_size_is_named(text):
    with pytest.raises(InputError, match=r"`--sizes|`data\.train_size`"):
        parse(text, rows)


@given(st.integers(1, 1000), st.integers(0, 12), st.integers(2, 9))
def test_a_range_ends_at_its_limit(first, steps, factor):
    last = first * factor**steps
    sizes = parse(f"{first}:{last}:x{factor}", lambda size: int(size))
    assert sizes == [first * factor**step for step in range(steps + 1)]
