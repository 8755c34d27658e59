"""Canaries: random rows that are planted among the training rows, to measure how well a model stores a row.

Shapes: B requested rows, L positions of a row, R positions of a row for text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data.checksums import content_hash
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.rows import Rows
from uddm_lightning.data.subset import Subset
from uddm_lightning.data.tokenizers.base import Tokenizer


class Canaries:
    """Endless sequence of rows of uniform random ids, of which the first ones are planted.

    Canary c is a function of the seed and of c alone, so that subsets of all sizes have the same canaries. The rows
    from `len(repetitions)` on are drawn in the same way and never planted: the alternatives with which a canary is
    compared.

    Source: Carlini et al. 2019, "The secret sharer", arXiv 1802.08232.

    Args:
        repetitions: number of times that each canary stands among the training rows, at least 0; a canary with 0
            repetitions is a control.
        packing: defines the length of a row, and its begin and end tokens.
        tokenizer: defines the vocabulary.
        seed: seed of the rows.

    Raises:
        InputError: a number of repetitions is below 0.

    Example:
        >>> import torch
        >>> from uddm_lightning.data import Canaries, CharacterTokenizer, WrappedPacking
        >>> canaries = Canaries([1, 4], WrappedPacking(length=3), CharacterTokenizer("abcde"), seed=0)
        >>> canaries.tokens(torch.arange(2))
        tensor([[2, 0, 0],
                [2, 3, 1]])
    """

    def __init__(self, repetitions: Sequence[int], packing: Packing, tokenizer: Tokenizer, seed: int) -> None:
        check_repetitions(repetitions)
        self.repetitions = list(repetitions)
        self._packing = packing
        self._tokenizer = tokenizer
        self._seed = seed
        self._text_length = packing.text_length(tokenizer)

    def __len__(self) -> int:
        return len(self.repetitions)

    def tokens(self, ids: Tensor) -> Tensor:
        """Return the ids (B, L), int64, of the rows `ids` (B,)."""
        positions_R = torch.arange(self._text_length)
        text_BR = keyed_random.integers(
            self._tokenizer.vocab_size, self._seed, Stream.CANARIES, ids[:, None], positions_R
        )
        return torch.from_numpy(self._packed(text_BR).tokens_NL)

    def special(self, ids: Tensor) -> Tensor | None:
        """Return True (B, L) at begin and end tokens; None if the packing adds none."""
        special_NL = self._packed(torch.zeros(len(ids), self._text_length, dtype=torch.int64)).special_NL
        return None if special_NL is None else torch.from_numpy(special_NL)

    def valid(self, ids: Tensor) -> None:
        """Return None: every position is valid."""

    def documents(self, ids: Tensor) -> None:
        """Return None: rows belong to no document."""

    def manifest(self) -> dict[str, Any]:
        """Return the settings of the canaries as plain data for JSON."""
        content = self.tokens(torch.arange(len(self))).numpy().tobytes()
        return {"repetitions": self.repetitions, "seed": self._seed, "hash": content_hash(content)}

    def _packed(self, text_BR: Tensor) -> Any:
        separators_BR = np.zeros(tuple(text_BR.shape), dtype=np.bool_)
        return self._packing.add_special_tokens(text_BR.numpy(), separators_BR, self._tokenizer)


class PlantedRows:
    """Access to the rows of a pool and to canaries: row `len(pool) + c` is canary c.

    Args:
        pool: rows of the pool.
        canaries: the canaries.
    """

    def __init__(self, pool: Rows, canaries: Canaries) -> None:
        self._pool = pool
        self._canaries = canaries

    def tokens(self, ids: Tensor) -> Tensor:
        """Return the ids (B, L), int64, of the rows `ids` (B,)."""
        tokens_BL = self._pool.tokens(self._of_pool(ids))
        planted_B = ids >= len(self._pool)
        tokens_BL[planted_B] = self._canaries.tokens(ids[planted_B] - len(self._pool))
        return tokens_BL

    def special(self, ids: Tensor) -> Tensor | None:
        """Return True (B, L) at begin, end and separator tokens; None if the packing adds none."""
        special_BL, planted_B = self._pool.special(self._of_pool(ids)), ids >= len(self._pool)
        own_BL = self._canaries.special(ids[planted_B])
        if special_BL is not None and own_BL is not None:
            special_BL[planted_B] = own_BL
        return special_BL

    def valid(self, ids: Tensor) -> Tensor | None:
        """Return False (B, L) at padding; None if there is no padding."""
        valid_BL = self._pool.valid(self._of_pool(ids))
        return None if valid_BL is None else valid_BL | (ids >= len(self._pool))[:, None]

    def documents(self, ids: Tensor) -> Tensor | None:
        """Return the documents (B,), int64, with -1 for a canary; None if no two rows share a document."""
        documents_B = self._pool.documents(self._of_pool(ids))
        return None if documents_B is None else documents_B.where(ids < len(self._pool), -1)

    def _of_pool(self, ids: Tensor) -> Tensor:
        return ids.where(ids < len(self._pool), 0)


class PlantedSubset(Subset):
    """Subset of the pool, followed by the canaries, each as often as it is planted.

    The rows of the pool come first and do not depend on the canaries, so that a smaller subset is still a prefix of
    them.

    Args:
        subset: rows of the pool.
        canaries: the canaries.
    """

    def __init__(self, subset: Subset, canaries: Canaries) -> None:
        self.pool, self.seed = subset.pool, subset.seed
        self._subset = subset
        repetitions = torch.tensor(canaries.repetitions, dtype=torch.int64)
        self._planted = subset.pool + torch.arange(len(canaries)).repeat_interleave(repetitions)

    @override
    def __len__(self) -> int:
        return len(self._subset) + len(self._planted)

    @override
    def rows(self, indices: Tensor) -> Tensor:
        """Return the rows of `PlantedRows` at indices of the subset, int64, of the same shape."""
        planted = indices >= len(self._subset)
        rows = self._subset.rows(indices.where(~planted, 0))
        rows[planted] = self._planted[indices[planted] - len(self._subset)]
        return rows


def check_repetitions(repetitions: Sequence[int], key: str = "data.canaries") -> None:
    """Check that numbers of repetitions are integers of at least 0.

    Args:
        repetitions: the numbers.
        key: config key of the numbers.

    Raises:
        InputError: one is not.
    """
    for number in repetitions:
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InputError(f"`{key}` must be a list of repetitions of at least 0, such as [0, 1, 4], got {number!r}.")
