"""Statistics of the text alone, without the model: a classifier of members, and the frequency of each sequence.

Both are cross-fitted: a sequence is scored by counts from other documents. A classifier that separates members from
nonmembers without the model has found a difference between the two texts, such as their topic, time or format. The
model's scores may then separate the groups for the same reason (Das et al. 2024, "Blind baselines beat membership
inference attacks for foundation models", arXiv 2406.16201).

Shapes: N sequences, L positions, V ids.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uddm_lightning.critics import CriticText, NgramCritic
from uddm_lightning.stats.ngrams import ABSENT

FLOAT = NDArray[np.float64]
BOOL = NDArray[np.bool_]
INT = NDArray[np.int64]
FOLDS = 5
ORDER = 3  # n of the longest n-grams


def blind_scores(tokens_NL: Tensor, counted_NL: Tensor, vocab_size: int, member_N: BOOL, folds_N: INT) -> FLOAT:
    """Return the log-likelihood ratio of a sequence under n-gram models of members and of nonmembers, (N,).

    Both models are fitted on the sequences of the other folds. The length of a sequence is a part of the models: its
    frequencies are counted in quarters of octaves, with add-one smoothing. The mean of each fold is subtracted, because
    it depends on the sizes of the texts that are fitted.

    Args:
        tokens_NL: int64 ids.
        counted_NL: bool, False at padding and special positions.
        vocab_size: V.
        member_N: True at members.
        folds_N: fold of each sequence.

    Example:
        >>> tokens = torch.tensor([[0, 0], [1, 1]] * 4)
        >>> member, folds = np.array([True, False] * 4), np.arange(8) // 4
        >>> blind_scores(tokens, torch.ones(8, 2).bool(), 2, member, folds) > 0
        array([ True, False,  True, False,  True, False,  True, False])
    """
    text_NL = _left_aligned(tokens_NL, counted_NL)
    lengths_N = (4 * counted_NL.sum(1).clamp(min=1).double().log2()).long()
    scores_N = np.empty(len(tokens_NL))
    for fold in np.unique(folds_N):
        here_N = folds_N == fold
        groups = (member_N & ~here_N, ~member_N & ~here_N)
        of_members, of_others = (
            _nll(text_NL[group], text_NL[here_N], vocab_size) + _length_nll(lengths_N, lengths_N[group])[here_N]
            for group in groups
        )
        ratio_N = (of_others - of_members).numpy()
        scores_N[here_N] = ratio_N - ratio_N.mean()
    return scores_N


def ngram_nll(tokens_NL: Tensor, counted_NL: Tensor, vocab_size: int, folds_N: INT) -> FLOAT:
    """Return the NLL of each sequence under an n-gram model of the other folds' sequences, in nats per token, (N,).

    The model knows nothing about membership: it is fitted on members and nonmembers together.

    Args:
        tokens_NL: int64 ids.
        counted_NL: bool, False at padding and special positions.
        vocab_size: V.
        folds_N: fold of each sequence.
    """
    text_NL = _left_aligned(tokens_NL, counted_NL)
    nll_N: FLOAT = np.empty(len(tokens_NL))
    for fold in np.unique(folds_N):
        here_N = folds_N == fold
        nll_N[here_N] = _nll(text_NL[~here_N], text_NL[here_N], vocab_size).numpy()
    per_token_N: FLOAT = nll_N / counted_NL.sum(1).clamp(min=1).numpy()
    return per_token_N


def document_folds(member_N: BOOL, documents_N: INT, seed: int = 0, folds: int = FOLDS) -> INT | None:
    """Return the fold of each sequence, int64 (N,); sequences of a document share a fold.

    Documents with members are spread evenly over the folds, and so are the others. There are fewer folds if one of the
    groups has fewer documents, and None if one of the groups is from a single document.

    Example:
        >>> document_folds(np.array([True, True, False, False]), np.array([0, 1, 2, 3]), folds=2).tolist()
        [0, 1, 0, 1]
    """
    codes_N = np.unique(documents_N, return_inverse=True)[1]
    has_member_D, has_other_D = np.bincount(codes_N, member_N) > 0, np.bincount(codes_N, ~member_N) > 0
    folds = min(folds, int(has_member_D.sum()), int(has_other_D.sum()))
    if folds < 2:
        return None
    shuffled_D = np.random.default_rng([1319, seed]).permutation(len(has_member_D))
    # documents of both groups first, then those of members, then those of nonmembers
    kinds_D = np.where(has_member_D & has_other_D, 0, np.where(has_member_D, 1, 2))[shuffled_D]
    fold_D = np.empty(len(shuffled_D), dtype=np.int64)
    fold_D[shuffled_D[np.argsort(kinds_D, kind="stable")]] = np.arange(len(shuffled_D)) % folds
    folds_N: INT = fold_D[codes_N]
    complete = all(
        (member_N & (folds_N != fold)).any() and (~member_N & (folds_N != fold)).any() for fold in range(folds)
    )
    return folds_N if complete else None


def _left_aligned(tokens_NL: Tensor, counted_NL: Tensor) -> Tensor:
    """Return the counted ids of each sequence from the left, followed by `ABSENT`, (N, L)."""
    order_NL = (~counted_NL).int().argsort(dim=1, stable=True)
    return tokens_NL.where(counted_NL, ABSENT).gather(1, order_NL)


def _length_nll(lengths_N: Tensor, fitted_M: Tensor) -> Tensor:
    """Return -ln of the smoothed frequencies of length classes, (N,), from the classes of other sequences (M,)."""
    counts = torch.bincount(fitted_M, minlength=int(lengths_N.max()) + 1).double() + 1
    return -(counts / counts.sum()).log()[lengths_N]


def _nll(fitted_ML: Tensor, scored_NL: Tensor, vocab_size: int) -> Tensor:
    """Return the summed NLL (N,) of sequences, without positions that are `ABSENT`."""
    critic = NgramCritic(order=ORDER, num_rows=max(1, len(fitted_ML)))
    critic.fit(CriticText(len(fitted_ML), lambda ids: fitted_ML[ids], vocab_size, str))
    return critic.nll(scored_NL).where(scored_NL >= 0, 0.0).sum(1)
