"""Index of n-grams against a dictionary of tuples."""

from collections import Counter

import pytest
import torch

from uddm_lightning.stats.ngrams import ABSENT, Ngrams

ROWS = torch.tensor([[0, 1, 0, 1, 2], [2, 2, 1, 0, ABSENT], [0, 1, 0, ABSENT, ABSENT]])


def ngrams_of(row: list[int], n: int) -> list[tuple[int, ...] | None]:
    """Return the n-gram that ends at each position; None where there is none."""
    parts = [tuple(row[end - n : end]) if end >= n else None for end in range(1, len(row) + 1)]
    return [None if part is None or ABSENT in part else part for part in parts]


def test_counts_are_those_of_a_dictionary() -> None:
    index = Ngrams(ROWS, order=3, vocab_size=3)
    for n in (1, 2, 3):
        counted = Counter(part for row in ROWS.tolist() for part in ngrams_of(row, n) if part)
        assert sorted(index.counts[n - 1].tolist()) == sorted(counted.values())


def test_equal_ids_are_equal_ngrams() -> None:
    index, queries = Ngrams(ROWS, order=3, vocab_size=3), torch.tensor([[2, 0, 1, 0, 1], [1, 2, 2, 1, 0]])
    names = {}
    for n, ((_, known_NL), (_, ids_NL)) in enumerate(zip(index.lookup(ROWS), index.lookup(queries), strict=True), 1):
        for row, ids in zip(ROWS.tolist(), known_NL.tolist(), strict=True):
            names.update({(n, part): number for part, number in zip(ngrams_of(row, n), ids, strict=True) if part})
        for row, ids in zip(queries.tolist(), ids_NL.tolist(), strict=True):
            assert ids == [names.get((n, part), ABSENT) for part in ngrams_of(row, n)]
    assert torch.equal(index.lookup_longest(queries), ids_NL)


def test_an_order_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`order` must be at least 1, got 0"):
        Ngrams(ROWS, order=0, vocab_size=3)
