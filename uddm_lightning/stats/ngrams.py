"""Index of the n-grams of rows: every distinct n-gram has an id, so that n-grams are found and compared exactly.

Shapes: N rows, L positions.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from uddm_lightning.core.errors import check_at_least

ABSENT = -1  # token: padding; n-gram id: the n-gram is not in the index or reaches beyond its row


class Ngrams:
    """Distinct n-grams of rows for n = 1, ..., `order`; the n-grams of one length n have the ids 0, 1, 2, ...

    The key of an n-gram is (id of its first n - 1 tokens) * V + (its last token). Keys therefore stay below
    (number of n-grams) * V for every n.

    Args:
        rows_NL: int64 token ids in [0, V); `ABSENT` at padding.
        order: largest n, at least 1.
        vocab_size: V.

    Attributes:
        keys: keys of the n-grams of each length, ascending; the position of a key is the id of its n-gram.
        counts: number of occurrences of each n-gram of each length.

    Raises:
        ValueError: `order` is below 1.

    Example:
        >>> ngrams = Ngrams(torch.tensor([[0, 1, 0, 1]]), order=2, vocab_size=2)
        >>> [counts.tolist() for counts in ngrams.counts]
        [[2, 2], [2, 1]]
        >>> ngrams.lookup_longest(torch.tensor([[0, 1, 1]])).tolist()
        [[-1, 0, -1]]
    """

    def __init__(self, rows_NL: Tensor, order: int, vocab_size: int) -> None:
        check_at_least(1, order=order)
        self.order = order
        self.vocab_size = vocab_size
        self.keys: list[Tensor] = []
        self.counts: list[Tensor] = []
        prefix_ids_NL = torch.zeros_like(rows_NL)
        for _ in range(order):
            keys_NL = self._keys(prefix_ids_NL, rows_NL)
            keys, counts = torch.unique(keys_NL[keys_NL >= 0], return_counts=True)
            self.keys.append(keys)
            self.counts.append(counts)
            prefix_ids_NL = _shift_right(self._find(len(self.keys) - 1, keys_NL))

    def lookup(self, rows_NL: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for n = 1, 2, ... two ids of the n-gram that ends at each position.

        The first is the id of its prefix of length n - 1, the second is its own id. Both are int64 (N, L), and
        `ABSENT` where the index has no such n-gram.
        """
        prefix_ids_NL = torch.zeros_like(rows_NL)
        for index in range(self.order):
            ngram_ids_NL = self._find(index, self._keys(prefix_ids_NL, rows_NL))
            yield prefix_ids_NL, ngram_ids_NL
            prefix_ids_NL = _shift_right(ngram_ids_NL)

    def lookup_longest(self, rows_NL: Tensor) -> Tensor:
        """Return the ids (N, L) of the n-grams with n = `order` that end at each position."""
        return list(self.lookup(rows_NL))[-1][1]

    def _keys(self, prefix_ids_NL: Tensor, rows_NL: Tensor) -> Tensor:
        return torch.where((prefix_ids_NL >= 0) & (rows_NL >= 0), prefix_ids_NL * self.vocab_size + rows_NL, ABSENT)

    def _find(self, index: int, keys_NL: Tensor) -> Tensor:
        known = self.keys[index]
        if not len(known):
            return torch.full_like(keys_NL, ABSENT)
        ids_NL = torch.searchsorted(known, keys_NL).clamp_(max=len(known) - 1)
        return ids_NL.where(known[ids_NL] == keys_NL, ABSENT)


def _shift_right(ids_NL: Tensor) -> Tensor:
    """Return ids by the position after the one at which their n-gram ends: the prefix of the next n-gram."""
    return torch.nn.functional.pad(ids_NL[:, :-1], (1, 0), value=ABSENT)
