"""Patterns of spins, written as text of two characters.

Shapes: B patterns, L spins, D features, A features of a pattern.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError, check_at_least
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.progress import progress
from uddm_lightning.data.sources.base import Document, Source

ALPHABET = "-+"  # spins -1 and +1; the ids 0 and 1 of a `CharacterTokenizer` with this alphabet
CHUNK_PATTERNS = 4096  # patterns per tensor


@dataclass(eq=False)
class SpinPatterns(Source):
    """Patterns of L spins, each a document: independent spins, or mixtures of random features.

    With features, pattern mu is

        xi_l = sign(sum_k c_k f_kl), with A distinct features f_k of D and random signs c_k.

    All spins f_kl of the features are independent. Patterns share the features, so a model that learns the features
    also predicts patterns that it has not seen. Without features, nothing can be learned from other patterns.

    Of a mixture and its opposite only one occurs, chosen at random. A memory that stores a pattern stores its opposite,
    too, if spins have no bias, so an opposite in the test set would not be unseen. There are binomial(D, A) 2^(A - 1)
    mixtures.

    Source: Kalaj et al. 2024, arXiv 2407.05658 (random-features Hopfield model).

    Args:
        num_documents: number of patterns, at least 2. Mixtures may repeat; copies share a split.
        length: L, spins of a pattern, at least 2.
        num_features: D, at least 1; None makes all spins of all patterns independent.
        num_active: A, features of a pattern, odd, from 1 to `num_features`. Not used without features.
        seed: seed of features and patterns, at least 0.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> [document.text for document in SpinPatterns(num_documents=2, length=8).documents()]
        ['+--++-++', '++--+--+']
    """

    num_documents: int = 8192
    length: int = 128
    num_features: int | None = 16
    num_active: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(2, num_documents=self.num_documents, length=self.length)
        check_at_least(1, num_features=self.num_features, num_active=self.num_active)
        check_at_least(0, seed=self.seed)
        if self.num_active % 2 == 0:
            raise InputError(f"`num_active` must be odd, so that no sum of features is 0, got {self.num_active}.")
        if self.num_features is not None and self.num_active > self.num_features:
            raise InputError(
                f"`num_active` is {self.num_active}, but there are only {self.num_features} features; choose at most "
                "`num_features`."
            )

    @override
    def documents(self) -> Iterator[Document]:
        for start in progress(range(0, self.num_documents, CHUNK_PATTERNS), "drawing patterns", "chunks"):
            numbers_B = torch.arange(start, min(start + CHUNK_PATTERNS, self.num_documents))
            for row in self._patterns(numbers_B).tolist():
                yield Document("".join(ALPHABET[spin > 0] for spin in row))

    def _patterns(self, numbers_B: Tensor) -> Tensor:
        """Return the spins, -1.0 or 1.0, of patterns by number, float64 (B, L)."""
        if self.num_features is None:
            return self._spins(0, numbers_B, self.length)
        features_DL = self._spins(1, torch.arange(self.num_features), self.length)
        keys_B = keyed_random.key(self.seed, Stream.SPINS, 2, numbers_B)
        chosen_BA = keyed_random.sample_without_replacement(self.num_active, self.num_features, keys_B).sort(1).values
        signs_BA = self._spins(3, numbers_B, self.num_active)
        signs_BA *= signs_BA[:, :1]
        mixture = (*chosen_BA.T, *signs_BA.long().T)  # the same for a mixture and its opposite
        signs_BA *= 2.0 * keyed_random.integers(2, self.seed, Stream.SPINS, 4, *mixture)[:, None] - 1
        return (signs_BA[..., None] * features_DL[chosen_BA]).sum(1).sign()

    def _spins(self, kind: int, numbers_B: Tensor, count: int) -> Tensor:
        """Return independent spins, float64 (B, count)."""
        return (
            2.0 * keyed_random.integers(2, self.seed, Stream.SPINS, kind, numbers_B[:, None], torch.arange(count)) - 1
        )
