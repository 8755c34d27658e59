"""Text drawn from a Markov chain: the one text of which everything is known.

Shapes: B documents that are drawn together, V states.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.data.sources.base import Document, Source, SourceDistribution
from uddm_lightning.stats.markov_chain import MarkovChain

BLOCK = 4096  # documents drawn together


class MarkovSource(Source):
    """Documents of one length, each an independent draw from a stationary Markov chain of alphabet.

    With a `CharacterTokenizer` of the same alphabet, and rows whose length divides that of a document, every row is a
    draw of the chain, too, and `MarkovBackbone` is the best model there is.

    Args:
        alphabet: one character for each state of the chain, at least two.
        num_documents: how many documents to draw.
        length: characters of a document.
        sharpness: spread of the logits of the transitions, in [0, 50]: 0 makes all alphabet alike.
        seed: of chain and text.
    """

    def __init__(
        self,
        alphabet: str = "abcdefghijklmnop",
        num_documents: int = 20_000,
        length: int = 32,
        sharpness: float = 2.0,
        seed: int = 0,
    ) -> None:
        if len(set(alphabet)) < max(2, len(alphabet)) or any(letter.isspace() for letter in alphabet):
            raise InputError(f"`data.source`: `alphabet` must be two or more different visible ones, got {alphabet!r}.")
        for name, value, least in (("num_documents", num_documents, 2), ("length", length, 1), ("seed", seed, 0)):
            if value < least:
                raise InputError(f"`data.source`: `{name}` must be at least {least}, got {value}.")
        if not 0.0 <= sharpness <= 50.0:
            raise InputError(f"`data.source`: `sharpness` must be in [0, 50], got {sharpness}.")
        self.alphabet = alphabet
        self.num_documents = num_documents
        self.length = length
        self.sharpness = sharpness
        self.seed = seed

    @cached_property
    def _chain(self) -> MarkovChain:
        return MarkovChain.random(len(self.alphabet), self.sharpness, self.seed)

    @property
    @override
    def distribution(self) -> SourceDistribution:
        return SourceDistribution(self._chain, self.alphabet, self.length)

    @override
    def documents(self) -> Iterator[Document]:
        letters_V = np.array(list(self.alphabet))
        for start in progress(range(0, self.num_documents, BLOCK), "drawing text", "blocks"):
            numbers_B = torch.arange(start, min(start + BLOCK, self.num_documents))
            for row in letters_V[self._chain.sample(keyed_random.key(self.seed, numbers_B), self.length).numpy()]:
                yield Document("".join(row))
