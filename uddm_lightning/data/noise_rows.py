"""Rows without any text: where a chain from t = 1 begins, and what nobody has ever stored.

Shapes: B rows, L positions, V ids.
"""

import numpy as np
import torch
from torch import Tensor

from uddm_lightning.core import keyed_random
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data.packing.base import Packing
from uddm_lightning.data.tokenizers.base import Tokenizer


def uniform_rows(vocab_size: int, length: int, seed: int, ids_B: Tensor, stream: Stream = Stream.SAMPLES) -> Tensor:
    """Rows (B, L) of uniform random ids below V, int64, each a function of the seed and its number."""
    return keyed_random.integers(vocab_size, seed, stream, ids_B[:, None], torch.arange(length))


class NoiseRows:
    """An endless list of rows of uniform random tokens, each a function of the seed and its number.

    Args:
        packing: gives the length, and where a row begins and ends.
        tokenizer: gives the vocabulary.
        seed: of the tokens.
        stream: what the rows are for; those of different streams have nothing to do with each other.
    """

    def __init__(self, packing: Packing, tokenizer: Tokenizer, seed: int, stream: Stream = Stream.SAMPLES) -> None:
        self.vocab_size = tokenizer.vocab_size
        self.length = packing.length
        self.seed = seed
        self.stream = stream
        blank = np.zeros((1, packing.room(tokenizer)), dtype=np.int64)
        special_NL = packing.frame(blank, blank.astype(np.bool_), tokenizer).special_NL
        self._special_1L = None if special_NL is None else torch.from_numpy(special_NL)

    def tokens(self, ids: Tensor) -> Tensor:
        """Ids (B, L), int64, of the rows `ids` (B,)."""
        return uniform_rows(self.vocab_size, self.length, self.seed, ids, self.stream)

    def special(self, ids: Tensor) -> Tensor | None:
        """True (B, L) where a row has its begin or end; None where rows have none."""
        return None if self._special_1L is None else self._special_1L.expand(len(ids), -1)

    def valid(self, ids: Tensor) -> None:
        """Every position is valid."""

    def documents(self, ids: Tensor) -> None:
        """Rows are drawn one by one."""
