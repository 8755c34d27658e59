"""Rows of uniform random tokens: the state of a chain at t = 1, and rows that no model has stored.

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
    """Return rows (B, L) of uniform random ids in [0, V), int64; each row depends only on the seed and its number."""
    return keyed_random.integers(vocab_size, seed, stream, ids_B[:, None], torch.arange(length))


class NoiseRows:
    """Endless sequence of rows of uniform random tokens; each row depends only on the seed and its number.

    Args:
        packing: defines the length of a row and its special positions.
        tokenizer: defines the vocabulary.
        seed: seed of the tokens.
        stream: random stream; rows of different streams are independent.
    """

    def __init__(self, packing: Packing, tokenizer: Tokenizer, seed: int, stream: Stream = Stream.SAMPLES) -> None:
        self.vocab_size = tokenizer.vocab_size
        self.length = packing.length
        self.seed = seed
        self.stream = stream
        text_NR = np.zeros((1, packing.text_length(tokenizer)), dtype=np.int64)
        special_NL = packing.add_special_tokens(text_NR, text_NR.astype(np.bool_), tokenizer).special_NL
        self._special_1L = None if special_NL is None else torch.from_numpy(special_NL)

    def tokens(self, ids: Tensor) -> Tensor:
        """Return the ids (B, L), int64, of the rows `ids` (B,)."""
        return uniform_rows(self.vocab_size, self.length, self.seed, ids, self.stream)

    def special(self, ids: Tensor) -> Tensor | None:
        """Return True (B, L) at begin and end tokens; None if the packing adds none."""
        return None if self._special_1L is None else self._special_1L.expand(len(ids), -1)

    def valid(self, ids: Tensor) -> None:
        """Return None: every position is valid."""

    def documents(self, ids: Tensor) -> None:
        """Return None: rows belong to no document."""
