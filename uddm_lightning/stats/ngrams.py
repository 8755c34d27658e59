"""Numbers for the n-grams of some rows, so that n-grams are looked up and compared exactly.

Shapes: N rows, L positions.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

ABSENT = -1  # no id, as at padding, and the number of an n-gram that is unknown, or reaches beyond its row


class Ngrams:
    """The distinct n-grams of rows for every n up to an order; those of one n are numbered from 0.

    An n-gram is known by the number of its first n - 1 ids and by its last id, so that no number ever grows beyond
    (number of n-grams) * V, whatever the order.

    Args:
        rows_NL: int64 ids in [0, V); `ABSENT` where there is none.
        order: largest n, at least 1.
        vocab_size: V.

    Attributes:
        keys: for each n, ascending: number of the n-gram's beginning times V plus its last id.
        counts: for each n, how often each of them occurs.
    """

    def __init__(self, rows_NL: Tensor, order: int, vocab_size: int) -> None:
        if order < 1:
            raise ValueError(f"`order` must be at least 1, got {order}.")
        self.order = order
        self.vocab_size = vocab_size
        self.keys: list[Tensor] = []
        self.counts: list[Tensor] = []
        begun_NL = torch.zeros_like(rows_NL)
        for _ in range(order):
            keys_NL = self._keys(begun_NL, rows_NL)
            keys, counts = torch.unique(keys_NL[keys_NL >= 0], return_counts=True)
            self.keys.append(keys)
            self.counts.append(counts)
            begun_NL = _next(self._look_up(len(self.keys) - 1, keys_NL))

    def numbers(self, rows_NL: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        """For n = 1, 2, ...: of the n-gram that ends at each position, the number of its beginning and its own.

        Both are int64 (N, L), and `ABSENT` where there is no such n-gram.
        """
        begun_NL = torch.zeros_like(rows_NL)
        for place in range(self.order):
            ended_NL = self._look_up(place, self._keys(begun_NL, rows_NL))
            yield begun_NL, ended_NL
            begun_NL = _next(ended_NL)

    def longest(self, rows_NL: Tensor) -> Tensor:
        """Numbers (N, L) of the n-grams of the largest n alone."""
        return list(self.numbers(rows_NL))[-1][1]

    def _keys(self, begun_NL: Tensor, rows_NL: Tensor) -> Tensor:
        return torch.where((begun_NL >= 0) & (rows_NL >= 0), begun_NL * self.vocab_size + rows_NL, ABSENT)

    def _look_up(self, place: int, keys_NL: Tensor) -> Tensor:
        known = self.keys[place]
        if not len(known):
            return torch.full_like(keys_NL, ABSENT)
        found_NL = torch.searchsorted(known, keys_NL).clamp_(max=len(known) - 1)
        return found_NL.where(known[found_NL] == keys_NL, ABSENT)


def _next(ended_NL: Tensor) -> Tensor:
    """What ends at a position is what the next one begins with."""
    return torch.nn.functional.pad(ended_NL[:, :-1], (1, 0), value=ABSENT)
