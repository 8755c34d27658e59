"""Test of the hypothesis that members score like nonmembers, by permutation of the labels.

A sequence may be a member by chance alone. The labels that were equally likely are then:

* in a document with members and nonmembers: every exchange of labels between its sequences;
* for documents of one group only: every exchange of labels between such documents.

Shapes: N sequences, P permutations, K scores, D documents.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 9999
CHUNK = 500  # permutations at a time

FLOAT = NDArray[np.float64]
BOOL = NDArray[np.bool_]
INT = NDArray[np.int64]


def permutation_test(
    scores_NK: FLOAT, member_N: BOOL, documents_N: INT, seed: int = 0, permutations: int = PERMUTATIONS
) -> FLOAT:
    """Return one-sided p-values (K,): the chance of scores of members that are as large under permuted labels.

    The statistic is the difference between the mean ranks of members and nonmembers. A p-value is
    (1 + number of permutations with at least the observed difference) / (1 + number of permutations).

    Args:
        scores_NK: scores, larger for sequences that look like members.
        member_N: True at members.
        documents_N: document of each sequence.
        seed: of the permutations.
        permutations: number of permutations.

    Example:
        >>> scores, member = np.arange(12.0)[:, None], np.arange(12) >= 6
        >>> bool(permutation_test(scores, member, np.arange(12))[0] < 0.01)
        True
    """
    ranks_NK = np.stack([_midranks(scores_N) for scores_N in scores_NK.T], 1)
    observed_K = _difference(ranks_NK, member_N[None])[0]
    reached_K = np.zeros(ranks_NK.shape[1])
    for labels_PN in _permuted(member_N, documents_N, seed, permutations):
        reached_K += (_difference(ranks_NK, labels_PN) >= observed_K - 1e-9).sum(0)
    p_K: FLOAT = (1 + reached_K) / (1 + permutations)
    return p_K


def _midranks(scores_N: FLOAT) -> FLOAT:
    _, codes_N, counts_U = np.unique(scores_N, return_inverse=True, return_counts=True)
    ranks_N: FLOAT = (np.cumsum(counts_U) - (counts_U - 1) / 2)[codes_N]
    return ranks_N


def _difference(ranks_NK: FLOAT, labels_PN: BOOL) -> FLOAT:
    """Return the differences of mean ranks (P, K)."""
    weights_PN = labels_PN / labels_PN.sum(1, keepdims=True) - ~labels_PN / (~labels_PN).sum(1, keepdims=True)
    differences_PK: FLOAT = weights_PN @ ranks_NK
    return differences_PK


def _permuted(member_N: BOOL, documents_N: INT, seed: int, permutations: int) -> Iterator[BOOL]:
    """Yield chunks of permuted labels, bool (P, N)."""
    generator = np.random.default_rng([1318, seed])
    codes_N = np.unique(documents_N, return_inverse=True)[1]
    members_D, sizes_D = np.bincount(codes_N, member_N).astype(np.int64), np.bincount(codes_N)
    pure_D = (members_D == 0) | (members_D == sizes_D)
    in_pure_N, places_D = pure_D[codes_N], np.cumsum(pure_D) - 1
    by_document_N = np.argsort(codes_N, kind="stable")
    for start in range(0, permutations, CHUNK):
        size = min(CHUNK, permutations - start)
        order_PN = np.argsort(codes_N + generator.random((size, len(codes_N))), axis=1)
        labels_PN = np.empty((size, len(codes_N)), dtype=np.bool_)
        np.put_along_axis(labels_PN, order_PN, np.broadcast_to(member_N[by_document_N], order_PN.shape), 1)
        if pure_D.any():
            pure_labels = generator.permuted(np.tile(members_D[pure_D] > 0, (size, 1)), axis=1)
            labels_PN[:, in_pure_N] = pure_labels[:, places_D[codes_N[in_pure_N]]]
        yield labels_PN
