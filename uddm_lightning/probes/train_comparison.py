"""Samples against the text that the model was trained on, and under a critic.

Shapes: B samples, K positions that are compared, L positions, C training rows of a block.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from uddm_lightning.core.progress import progress
from uddm_lightning.critics import ABSENT, Critic, CriticScores, CriticText, NgramCritic
from uddm_lightning.data import Corpus, Packing, Subset
from uddm_lightning.data.eval_dataset import RowReader, measured_order
from uddm_lightning.data.noise_rows import NoiseRows
from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.metrics.neighbours import NEAR, NGRAM, Overlap, nearest, unigram_entropy

BLOCK = 2**14  # training rows that are read at a time


class TrainComparison:
    """Finds the nearest training row of samples, and their likelihood under a critic.

    Begin and end positions are the same in every row and are left out of all comparisons. Padding is compared like
    other tokens.

    Args:
        corpus: the text.
        subset: the rows of it that the model was trained on.
        packing: knows where a row begins and ends.
        critic: gives the generative perplexity; it learns from the whole pool, so that all subsets share it. None
            leaves it out.
        ngram: ids of the n-grams whose overlap is measured.
        num_test_rows: test rows that are measured like samples; a critic of held-out rows is not fitted on them.
    """

    def __init__(
        self,
        corpus: Corpus,
        subset: Subset,
        packing: Packing,
        critic: Critic | None,
        ngram: int,
        num_test_rows: int = 0,
    ) -> None:
        self.num_test_rows = num_test_rows
        self.corpus = corpus
        self.subset = subset
        self.critic = critic
        self.vocab_size = corpus.tokenizer.vocab_size
        special_1L = NoiseRows(packing, corpus.tokenizer, 0).special(torch.zeros(1, dtype=torch.int64))
        self.kept_L = torch.ones(packing.length, dtype=torch.bool) if special_1L is None else ~special_1L[0]
        self.ngram = min(ngram, self.length)
        self._fitted = False

    @classmethod
    def with_ngram_critic(cls, corpus: Corpus, subset: Subset, packing: Packing) -> "TrainComparison":
        """Return a comparison with the n-gram critic and the default length of n-grams."""
        return cls(corpus, subset, packing, NgramCritic(), NGRAM)

    @property
    def length(self) -> int:
        """Number K of positions of a row that are compared."""
        return int(self.kept_L.sum())

    def new_metric(self, memorized_within: float = NEAR, spurious_within: float = NEAR) -> SampleNeighbours:
        """Return an empty metric for `update`; see `SampleNeighbours`."""
        return SampleNeighbours(self.length, memorized_within, spurious_within)

    def update(self, metric: SampleNeighbours, tokens_BL: Tensor, counted_BL: Tensor, rows_B: Tensor) -> None:
        """Add samples to a metric, with their nearest training rows and critic scores.

        Args:
            metric: collects it.
            tokens_BL: int64 ids.
            counted_BL: bool, positions that count for unigram entropy and perplexity.
            rows_B: int64 numbers of the samples; -1 marks a filler row.
        """
        device = tokens_BL.device
        mine_BK = tokens_BL[:, self.kept_L.to(device)]
        overlap = Overlap(mine_BK, self.ngram, self.vocab_size)
        least = nearest(mine_BK, self._training_rows(overlap, device))
        theirs_BL = self.corpus.train.tokens(self.subset.rows(least.place_B.cpu())).to(device)
        judged = self._judged(tokens_BL, counted_BL)
        metric.update(
            mine_BK,
            rows_B,
            least.distance_B,
            overlap.within(theirs_BL[:, self.kept_L.to(device)]),
            overlap.anywhere(),
            unigram_entropy(tokens_BL, counted_BL),
            judged.nll_BM,
            judged.counted_BM,
        )

    def _training_rows(self, overlap: Overlap, device: torch.device) -> Iterator[Tensor]:
        """Yield the training rows block by block, and add each block to the overlap."""
        starts = range(0, len(self.subset), BLOCK)
        for start in progress(starts, "nearest training row"):
            places_C = torch.arange(start, min(start + BLOCK, len(self.subset)))
            block_CK = self.corpus.train.tokens(self.subset.rows(places_C))[:, self.kept_L].to(device)
            overlap.see(block_CK)
            yield block_CK

    def _judged(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        if self.critic is None:
            return CriticScores(torch.zeros_like(tokens_BL, dtype=torch.float64), torch.zeros_like(counted_BL))
        if not self._fitted:
            text = CriticText(len(self.corpus.train), self._rows_of_the_pool, self.vocab_size, self._decoded)
            left = max(len(self.corpus.test) - self.num_test_rows, 0)
            self.critic.fit(text._replace(held_out_size=left, held_out=self._held_out_rows))
            self._fitted = True
        return self.critic.score(tokens_BL, counted_BL)

    def _rows_of_the_pool(self, ids: Tensor) -> Tensor:
        return _with_absent(self.corpus.train, ids)

    def _held_out_rows(self, places: Tensor) -> Tensor:
        return _with_absent(self.corpus.test, measured_order(self.corpus, places + self.num_test_rows))

    def _decoded(self, ids: Sequence[int]) -> str:
        tokenizer = self.corpus.tokenizer
        special = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id}
        return tokenizer.decode(token for token in ids if token not in special)


def _with_absent(rows: RowReader, ids: Tensor) -> Tensor:
    """Return rows (R, L) with `ABSENT` at padding."""
    tokens_RL, valid_RL = rows.tokens(ids), rows.valid(ids)
    return tokens_RL if valid_RL is None else tokens_RL.where(valid_RL, ABSENT)


def comparison_lines(found: dict[str, Any], against: TrainComparison) -> list[str]:
    """Return the lines for the terminal about the values of a metric of `new_metric`."""
    labels = ", ".join(f"{found[f'n_{label}']} {label}" for label in ("memorized", "spurious", "novel"))
    rows, n = len(against.subset), against.ngram
    inside = f"{found['nearest_overlap']:.3f} of {n}-grams are in it, {found['train_overlap']:.3f} in any training row"
    value, low, high = (found[f"generative_perplexity{end}"] for end in ("", "_low", "_high"))
    lines = [
        f"   against {rows} training rows: {labels}",
        f"   (memorized: at most {NEAR:.0%} of positions differ from a training row; spurious: from another sample; "
        "novel: neither, good or bad text)",
        f"   nearest training row: {found['nearest_distance']:.3f} of positions differ, {inside}",
    ]
    if against.critic:
        line = f"   generative perplexity under the {against.critic.name} critic: {value:.3f} ({low:.3f} to {high:.3f})"
        lines.append(line + (f"; novel samples: {found['novel_perplexity']:.3f}" if found["n_novel"] else ""))
    return lines
