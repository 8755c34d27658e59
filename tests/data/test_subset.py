import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import Subset

TEXT, OTHER = "0" * 31 + "1", "f" * 32


def rows(pool: int, size: int | float, seed: int = 0, text: str = TEXT) -> list[int]:
    subset = Subset(pool, size, seed, text)
    return subset.rows(torch.arange(len(subset))).tolist()


@given(st.integers(1, 300), st.data(), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_subset_is_a_prefix_of_a_permutation(pool: int, data: st.DataObject, seed: int) -> None:
    everything = rows(pool, 1.0, seed)
    assert sorted(everything) == list(range(pool))
    size = data.draw(st.integers(1, pool))
    assert rows(pool, size, seed) == everything[:size]


def test_rows_are_evaluated_independently() -> None:
    everything, subset = rows(1000, 1.0), Subset(1000, 10, 0, TEXT)
    places = torch.tensor([[3, 1], [3, 9]])
    assert subset.rows(places).tolist() == [[everything[3], everything[1]], [everything[3], everything[9]]]


def test_the_permutation_depends_on_seed_and_corpus() -> None:
    assert len({tuple(rows(1000, 10, seed, text)) for seed in (0, 1) for text in (TEXT, OTHER)}) == 4


def test_sizes() -> None:
    for size, expected in ((1, 1), (1.0, 500), (0.5, 250), (0.0001, 1), (0.299, math.floor(149.5)), (500, 500)):
        assert len(Subset(500, size, 0, TEXT)) == expected


def test_hash_is_of_the_rows_in_order() -> None:
    assert Subset(100000, 70000, 0, TEXT).hash() == Subset(100000, 0.7, 0, TEXT).hash()
    assert len({Subset(100, size, seed, TEXT).hash() for size in (10, 11) for seed in (0, 1)}) == 4


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "`data.train_size` is 0, but a subset has at least one row; give a number of rows such as 512"),
        (-3, "`data.train_size` is -3"),
        (True, "`data.train_size` is True; give a number of rows"),
        (0.0, r"`data.train_size` is 0.0, but a float must be a fraction in \(0, 1\]"),
        (-0.5, "`data.train_size` is -0.5"),
        (1.5, r"`data.train_size` is 1.5, but a float must be a fraction"),
        (512.0, r"`data.train_size` is 512.0, but a float must be a fraction"),
        (math.nan, "`data.train_size` is nan"),
        (math.inf, "`data.train_size` is inf"),
        ("8", "`data.train_size` is '8'"),
        (9000, "`data.train_size` is 9000 but the corpus has only 812 training rows; choose at most 812"),
    ],
)
def test_invalid_sizes(size: int | float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Subset(812, size, 0, TEXT)


def test_memory_of_a_subset_does_not_grow_with_the_pool() -> None:
    subset = Subset(10**15, 10**5, 0, "0" * 32)  # a shuffle would take eight petabytes
    rows = subset.rows(torch.arange(len(subset)))
    assert rows.unique().numel() == 10**5
    assert 0 <= rows.min() < 10**12
    assert 0.999 * 10**15 < rows.max() < 10**15
    assert abs(rows.double().mean() / 10**15 - 0.5) < 0.005
    assert subset.hash() == Subset(10**15, 1e-10, 0, "0" * 32).hash()
