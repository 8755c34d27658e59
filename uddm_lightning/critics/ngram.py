"""An n-gram model of the corpus: a critic that is at hand wherever the corpus is.

Shapes: B rows, L positions, V ids in the vocabulary.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.critics.base import Critic, CriticScores, CriticText
from uddm_lightning.stats.ngrams import Ngrams


class NgramCritic(Critic):
    """Interpolated n-grams with the discount of Witten and Bell; each row begins without a past.

    With c(h w) the count of id w after the history h, c(h) their sum and T(h) the number of ids seen after h,
      p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),
    where h' is h without its oldest id, and below the empty history lies 1 / V. A history that was never seen says
    p(w | h'). The probabilities of every history sum to 1.

    Source: Witten and Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37, 1991; in this
    form Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1998, section 2.4.

    Args:
        order: ids of an n-gram, at least 1: the past that counts is one shorter.
        num_rows: of the training pool to learn from, evenly spread over it, at most.
    """

    def __init__(self, order: int = 5, num_rows: int = 16384) -> None:
        if order < 1:
            raise ValueError(f"`order` must be at least 1, got {order}.")
        if num_rows < 1:
            raise ValueError(f"`num_rows` must be at least 1, got {num_rows}.")
        self.order = order
        self.num_rows = num_rows
        self._ngrams: Ngrams | None = None
        self._sums: list[Tensor] = []  # c(h) for each n and each number of a history
        self._kinds: list[Tensor] = []  # T(h)

    @property
    @override
    def name(self) -> str:
        return f"{self.order}-gram"

    @override
    def fit(self, reading: CriticText) -> None:
        used = min(self.num_rows, reading.pool)
        ngrams = Ngrams(reading.rows(torch.arange(used) * reading.pool // used), self.order, reading.vocab_size)
        self._sums, self._kinds = [], []
        for place, (keys, counts) in enumerate(zip(ngrams.keys, ngrams.counts, strict=True)):
            histories = keys // reading.vocab_size
            size = len(ngrams.keys[place - 1]) if place else 1
            self._sums.append(torch.zeros(size, dtype=torch.int64).index_add_(0, histories, counts))
            self._kinds.append(torch.bincount(histories, minlength=size))
        self._ngrams = ngrams

    def nll(self, tokens_BL: Tensor) -> Tensor:
        """-ln p of each token after those before it in its row, float64 (B, L), in nats."""
        if self._ngrams is None:
            raise RuntimeError("The critic has read nothing yet: call `fit` first.")
        p_BL = torch.full(tokens_BL.shape, 1.0 / self._ngrams.vocab_size, dtype=torch.float64)
        for place, (history_BL, whole_BL) in enumerate(self._ngrams.numbers(tokens_BL.cpu())):
            kinds_BL, sums_BL = (_at(table[place], history_BL) for table in (self._kinds, self._sums))
            count_BL = _at(self._ngrams.counts[place], whole_BL)
            p_BL = torch.where(kinds_BL > 0, (count_BL + kinds_BL * p_BL) / (sums_BL + kinds_BL).clamp(min=1), p_BL)
        return -p_BL.log()

    @override
    def judge(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        return CriticScores(self.nll(tokens_BL).to(counted_BL.device), counted_BL)


def _at(table: Tensor, numbers_BL: Tensor) -> Tensor:
    """Entries of a table by number, 0 where a number is `ABSENT`."""
    return torch.cat([table, table.new_zeros(1)])[numbers_BL]  # the last place is -1, too
