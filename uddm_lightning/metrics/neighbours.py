"""Distance of samples to the training rows and to each other: memorized, spurious or novel samples.

A novel sample is near no training row and near no other sample. Its perplexity shows whether it is text.

Shapes: B rows, S samples, C rows of a block, L positions.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_within
from uddm_lightning.core.progress import progress
from uddm_lightning.metrics.rowwise import RowwiseMetric, masked_sum, ratio
from uddm_lightning.stats.intervals import mean_interval
from uddm_lightning.stats.ngrams import ABSENT, Ngrams

ELEMENTS = 2**22  # of (B, C) counts, held at once


class Nearest(NamedTuple):
    """The nearest row of each sample.

    Attributes:
        distance_B: int64, positions at which the two differ.
        place_B: int64, index of that row; the first of several.
    """

    distance_B: Tensor
    place_B: Tensor


def hamming(one_BL: Tensor, other_CL: Tensor) -> Tensor:
    """Return the number of positions at which rows differ, int32 (B, C), without a tensor of shape (B, C, L).

    Example:
        >>> hamming(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 4], [0, 0, 3]]))
        tensor([[1, 2]], dtype=torch.int32)
    """
    differ_BC = torch.zeros(len(one_BL), len(other_CL), dtype=torch.int32, device=one_BL.device)
    for one_B, other_C in zip(one_BL.T.contiguous(), other_CL.T.contiguous(), strict=True):
        differ_BC += one_B[:, None] != other_C
    return differ_BC


def nearest(rows_BL: Tensor, blocks: Iterable[Tensor]) -> Nearest:
    """Return the nearest row of all blocks by Hamming distance.

    Args:
        rows_BL: int64 ids.
        blocks: int64 ids (C, L) of the rows to compare with, in order; at least one row in total.

    Example:
        >>> nearest(torch.tensor([[1, 2, 3]]), [torch.tensor([[0, 0, 3]]), torch.tensor([[1, 2, 4]])])
        Nearest(distance_B=tensor([1]), place_B=tensor([1]))
    """
    least = Nearest(torch.full_like(rows_BL[:, 0], rows_BL.shape[1] + 1), torch.zeros_like(rows_BL[:, 0]))
    size, start = max(1, ELEMENTS // max(1, len(rows_BL))), 0
    narrow_BL = _narrow(rows_BL)
    for block_CL in blocks:
        for part_CL in torch.split(block_CL, size) if len(block_CL) else ():
            places_C = torch.arange(len(part_CL), device=rows_BL.device)
            # packs distance and index into one number, so that ties break deterministically
            code_B = (hamming(narrow_BL, _narrow(part_CL)).long() * size + places_C).amin(1)
            distance_B, place_B = code_B // size, code_B % size + start
            closer_B = distance_B < least.distance_B
            least = Nearest(distance_B.where(closer_B, least.distance_B), place_B.where(closer_B, least.place_B))
            start += len(part_CL)
    return least


def _narrow(rows_BL: Tensor) -> Tensor:
    """Return ids in 32 bits, which are compared twice as fast."""
    return rows_BL.to(torch.int32)


class Overlap:
    """Share of the n-grams of samples that occur in other rows.

    Args:
        rows_BL: int64 ids of the samples.
        n: length of the n-grams, from 1 to L.
        vocab_size: V.

    Raises:
        ValueError: `n` is out of range.

    Example:
        >>> overlap = Overlap(torch.tensor([[0, 1, 2]]), n=2, vocab_size=3)
        >>> overlap.see(torch.tensor([[2, 0, 1]]))
        >>> overlap.anywhere()
        tensor([0.5000], dtype=torch.float64)
    """

    def __init__(self, rows_BL: Tensor, n: int, vocab_size: int) -> None:
        if not 1 <= n <= rows_BL.shape[1]:
            raise ValueError(f"`n` must be from 1 to the length of a row, {rows_BL.shape[1]}, got {n}.")
        self._ngrams = Ngrams(rows_BL, n, vocab_size)
        self._mine_BW = self._ngrams.lookup_longest(rows_BL)[:, n - 1 :]
        self._seen = torch.zeros(len(self._ngrams.keys[-1]), dtype=torch.bool, device=rows_BL.device)

    def see(self, rows_CL: Tensor) -> None:
        """Add the n-grams of rows."""
        found_CL = self._ngrams.lookup_longest(rows_CL)
        self._seen[found_CL[found_CL != ABSENT]] = True

    def anywhere(self) -> Tensor:
        """Return the share of each sample's n-grams that occur in the rows added, float64 (B,)."""
        return self._seen[self._mine_BW].double().mean(1)

    def within(self, rows_BL: Tensor) -> Tensor:
        """Return the share of each sample's n-grams that occur in the row of the same index, float64 (B,)."""
        theirs_BW = self._ngrams.lookup_longest(rows_BL)
        shares_B = torch.zeros(len(rows_BL), dtype=torch.float64, device=rows_BL.device)
        for sample, (mine_W, theirs_W) in enumerate(zip(self._mine_BW, theirs_BW, strict=True)):
            shares_B[sample] = torch.isin(mine_W, theirs_W).double().mean()
        return shares_B


def unigram_entropy(rows_BL: Tensor, counted_BL: Tensor) -> Tensor:
    """Return the entropy of the token frequencies within each row, float64 (B,), in nats; NaN if nothing is counted.

    Example:
        >>> unigram_entropy(torch.tensor([[5, 5, 7, 7]]), torch.ones(1, 4, dtype=torch.bool))  # ln 2
        tensor([0.6931], dtype=torch.float64)
    """
    masked_BL = rows_BL.where(counted_BL, ABSENT).sort(1).values
    count_B1 = counted_BL.sum(1, keepdim=True).double()
    # m is the count of the id at each position: H = - sum_v m_v / L ln(m_v / L) = - mean over positions ln(m / L)
    left_BL, right_BL = (torch.searchsorted(masked_BL, masked_BL, right=right) for right in (False, True))
    log_BL = torch.log((right_BL - left_BL) / count_B1)
    total_B = masked_sum(log_BL, masked_BL >= 0)
    return torch.where(count_B1[:, 0] > 0, -total_B / count_B1[:, 0] + 0.0, torch.nan)


class NeighbourResult(NamedTuple):
    """Result of `SampleNeighbours`; NaN without samples.

    Attributes:
        n_rows: number of samples.
        n_draws: the same.
        n_memorized: samples near a training row.
        n_spurious: other samples near another sample.
        n_novel: all other samples, both text and noise; `novel_perplexity` distinguishes them.
        nearest_distance: mean share of positions at which a sample differs from its nearest training row.
        nearest_overlap: mean share of a sample's n-grams that occur in this row.
        train_overlap: mean share of a sample's n-grams that occur in any training row.
        unigram_entropy: mean entropy of the token frequencies within a sample, in nats.
        generative_perplexity: perplexity of the samples under the critic; NaN without a critic.
        generative_perplexity_low: lower end of its 95 % interval, clustered by sample.
        generative_perplexity_high: upper end.
        novel_perplexity: perplexity of the novel samples; NaN without novel samples or without a critic.
    """

    n_rows: int
    n_draws: int
    n_memorized: int
    n_spurious: int
    n_novel: int
    nearest_distance: float
    nearest_overlap: float
    train_overlap: float
    unigram_entropy: float
    generative_perplexity: float
    generative_perplexity_low: float
    generative_perplexity_high: float
    novel_perplexity: float


NEAR = 0.1  # default of the largest share of positions in which near rows differ
NGRAM = 6  # default length of n-grams
FOUND = ("distance", "overlap", "train_overlap", "unigram_entropy", "nll", "count")  # measures of each sample


class SampleNeighbours(RowwiseMetric):
    """Classify samples as memorized, spurious or novel.

    A sample is *memorized* if it differs from a training row at a share of at most `memorized_within` of its positions.
    Otherwise it is *spurious* if it differs from another sample at a share of at most `spurious_within`. Otherwise it
    is *novel*. Noise is novel, too: compare `novel_perplexity` with the perplexity of test rows. The shares depend on
    the number of samples, so compare equal numbers only.

    Source: Pham et al. 2025, arXiv 2505.21777, for images.

    Args:
        length: L, positions of a sample.
        memorized_within: in [0, 1).
        spurious_within: in [0, 1).

    Raises:
        ValueError: a share is out of range.

    Example:
        >>> metric, tokens_BL = SampleNeighbours(2, 0.1, 0.1), torch.tensor([[0, 1], [2, 3], [2, 3], [4, 5]])
        >>> zeros_B, distance_B = torch.zeros(4), torch.tensor([0, 2, 2, 2])
        >>> nll_BM, judged_BM = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.bool)  # no critic
        >>> metric.update(tokens_BL, torch.arange(4), distance_B, zeros_B, zeros_B, zeros_B, nll_BM, judged_BM)
        >>> metric.compute()[2:5]  # memorized, spurious, novel
        (1, 2, 1)
    """

    def __init__(self, length: int, memorized_within: float, spurious_within: float) -> None:
        check_within("[0, 1)", memorized_within=memorized_within, spurious_within=spurious_within)
        super().__init__()
        self.memorized_within = memorized_within
        self.spurious_within = spurious_within
        self.declare("samples", *(str(position) for position in range(length)))
        self.declare("found", *FOUND)

    @override
    def update(
        self,
        tokens_BL: Tensor,
        rows_B: Tensor,
        distance_B: Tensor,
        overlap_B: Tensor,
        train_overlap_B: Tensor,
        unigram_entropy_B: Tensor,
        nll_BM: Tensor,
        judged_BM: Tensor,
    ) -> None:
        """Add samples.

        Args:
            tokens_BL: int64 ids.
            rows_B: int64 numbers of the samples, each once; -1 marks a filler row, which is ignored.
            distance_B: positions at which a sample differs from its nearest training row.
            overlap_B: share of its n-grams in that row.
            train_overlap_B: share of its n-grams in any training row.
            unigram_entropy_B: in nats.
            nll_BM: negative log-likelihoods of the critic's tokens, in nats.
            judged_BM: bool, True for tokens to count; all False without a critic.
        """
        self.record("samples", rows_B, *tokens_BL.T)
        judged = (masked_sum(nll_BM, judged_BM), judged_BM.sum(1))
        found = (distance_B, overlap_B, train_overlap_B, unigram_entropy_B, *judged)
        self.record("found", rows_B, *(column_B.to(rows_B.device) for column_B in found))

    @override
    def compute(self) -> NeighbourResult:
        """Return the counts of the labels and means over all samples."""
        found = dict(zip(FOUND, self.entries("found")[1].T, strict=True))
        tokens_SL = torch.from_numpy(self.entries("samples")[1]).long().to(self.device)
        total, length = tokens_SL.shape
        memorized_S = found["distance"] <= self.memorized_within * length + 1e-9  # 0.1 * 30 is a little more than 3
        doubled_S = nearest_other(tokens_SL).cpu().numpy() <= self.spurious_within * length + 1e-9
        n_memorized, n_spurious = int(memorized_S.sum()), int((doubled_S & ~memorized_S).sum())
        novel_S = ~(memorized_S | doubled_S)
        with np.errstate(over="ignore"):
            perplexity = np.exp(mean_interval(found["nll"], found["count"], low=None))
            novel = np.exp(ratio(float(found["nll"][novel_S].sum()), float(found["count"][novel_S].sum())))
        return NeighbourResult(
            total,
            total,
            n_memorized,
            n_spurious,
            total - n_memorized - n_spurious,
            ratio(float(found["distance"].sum()), total * length),
            ratio(float(found["overlap"].sum()), total),
            ratio(float(found["train_overlap"].sum()), total),
            ratio(float(found["unigram_entropy"].sum()), total),
            *(float(bound) for bound in (*perplexity, novel)),
        )


def nearest_other(tokens_SL: Tensor) -> Tensor:
    """Return the distance of each sample to the nearest other sample, int64 (S,); L + 1 for a single sample."""
    total, length = tokens_SL.shape
    narrow_SL = _narrow(tokens_SL)
    size = max(1, ELEMENTS // max(1, total))
    least_S = torch.full((total,), length + 1, dtype=torch.int64, device=tokens_SL.device)
    parts = torch.split(torch.arange(total, device=tokens_SL.device), size) if total > 1 else ()
    for places_B in progress(parts, "nearest sample"):
        differ_BS = hamming(narrow_SL[places_B], narrow_SL)
        differ_BS.scatter_(1, places_B[:, None], length + 1)
        least_S[places_B] = differ_BS.amin(1).long()
    return least_S
