"""N-gram model of the training text as critic.

Shapes: B rows, L positions, V ids in the vocabulary.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.critics.base import Critic, CriticScores, CriticText
from uddm_lightning.stats.ngrams import Ngrams


class NgramCritic(Critic):
    """Interpolated n-gram model with Witten-Bell smoothing. Each row starts with an empty history.

    With c(h w) the count of id w after the history h, c(h) the sum over w and T(h) the number of distinct ids after h,
      p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),
    where h' is h without its oldest id. The empty history interpolates with the uniform distribution 1 / V. For a
    history without occurrences p(w | h) = p(w | h'). The probabilities after every history sum to 1.

    Source: Witten and Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37, 1991; in this
    form Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1998, section 2.4.

    Args:
        order: n of the longest n-grams, at least 1. The history has at most n - 1 ids.
        num_rows: largest number of training rows to fit on, at least 1; the rows are evenly spaced over the pool.

    Raises:
        ValueError: `order` or `num_rows` is below 1.

    Example:
        >>> rows = torch.tensor([[0, 1, 0, 1]])
        >>> critic = NgramCritic(order=2)
        >>> critic.fit(CriticText(pool_size=1, rows=lambda ids: rows[ids], vocab_size=2, decode=str))
        >>> critic.nll(rows).neg().exp()
        tensor([[0.5000, 0.8333, 0.7500, 0.8333]], dtype=torch.float64)
    """

    def __init__(self, order: int = 5, num_rows: int = 16384) -> None:
        check_at_least(1, order=order, num_rows=num_rows)
        self.order = order
        self.num_rows = num_rows
        self._ngrams: Ngrams | None = None
        self._history_counts: list[Tensor] = []  # c(h), for each n by the id of the history
        self._distinct_next: list[Tensor] = []  # T(h), likewise

    @property
    @override
    def name(self) -> str:
        return f"{self.order}-gram"

    @override
    def fit(self, text: CriticText) -> None:
        num_rows = min(self.num_rows, text.pool_size)
        rows_NL = text.rows(torch.arange(num_rows) * text.pool_size // num_rows)
        ngrams = Ngrams(rows_NL, self.order, text.vocab_size)
        self._history_counts, self._distinct_next = [], []
        for index, (keys, counts) in enumerate(zip(ngrams.keys, ngrams.counts, strict=True)):
            histories = keys // text.vocab_size
            size = len(ngrams.keys[index - 1]) if index else 1
            self._history_counts.append(torch.zeros(size, dtype=torch.int64).index_add_(0, histories, counts))
            self._distinct_next.append(torch.bincount(histories, minlength=size))
        self._ngrams = ngrams

    def nll(self, tokens_BL: Tensor) -> Tensor:
        """Return -ln p of each token given the preceding tokens of its row, float64 (B, L), in nats.

        Raises:
            RuntimeError: `fit` was not called.
        """
        if self._ngrams is None:
            raise RuntimeError("The critic has no training text: call `fit` first.")
        p_BL = torch.full(tokens_BL.shape, 1.0 / self._ngrams.vocab_size, dtype=torch.float64)
        for index, (history_BL, ngram_BL) in enumerate(self._ngrams.lookup(tokens_BL.cpu())):
            distinct_BL = _gather(self._distinct_next[index], history_BL)
            total_BL = _gather(self._history_counts[index], history_BL) + distinct_BL
            count_BL = _gather(self._ngrams.counts[index], ngram_BL)
            p_BL = torch.where(distinct_BL > 0, (count_BL + distinct_BL * p_BL) / total_BL.clamp(min=1), p_BL)
        return -p_BL.log()

    @override
    def score(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        return CriticScores(self.nll(tokens_BL).to(counted_BL.device), counted_BL)


def _gather(table: Tensor, ids_BL: Tensor) -> Tensor:
    """Return the entries of a table by id, 0 where the id is `ABSENT`."""
    return torch.cat([table, table.new_zeros(1)])[ids_BL]  # `ABSENT` is -1, the index of the appended 0
