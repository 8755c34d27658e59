"""Text sampled from a Markov chain.

Shapes: B documents, V states.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError, check_at_least, check_within
from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.core.progress import progress
from uddm_lightning.data.sources.base import Document, Source, SourceDistribution

CHUNK_DOCUMENTS = 4096  # documents per tensor


@dataclass(eq=False)
class MarkovSource(Source):
    """Documents of equal length, sampled independently from a stationary Markov chain.

    With a `CharacterTokenizer` of the same alphabet and rows whose length divides `length`, each row is a sample of the
    chain, and `MarkovBackbone` is the optimal model.

    Args:
        alphabet: characters of the states, at least two, without repetition and white space.
        num_documents: number of documents, at least 2.
        length: characters per document, at least 1.
        sharpness: standard deviation of the transition logits, in [0, 50]; 0 makes all transitions equally likely.
        seed: seed of chain and text, at least 0.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> source = MarkovSource(alphabet="abc", num_documents=2, length=8)
        >>> [document.text for document in source.documents()]
        ['ccacaccc', 'caccaccc']
    """

    alphabet: str = "abcdefghijklmnop"
    num_documents: int = 20_000
    length: int = 32
    sharpness: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if len(set(self.alphabet)) < max(2, len(self.alphabet)) or any(map(str.isspace, self.alphabet)):
            raise InputError(f"`alphabet` must be two or more distinct visible characters, got {self.alphabet!r}.")
        check_at_least(2, num_documents=self.num_documents)
        check_at_least(1, length=self.length)
        check_at_least(0, seed=self.seed)
        check_within("[0, 50]", sharpness=self.sharpness)

    @cached_property
    def _chain(self) -> MarkovChain:
        return MarkovChain.random(len(self.alphabet), self.sharpness, self.seed)

    @property
    @override
    def distribution(self) -> SourceDistribution:
        return SourceDistribution(self._chain, self.alphabet, self.length)

    @override
    def documents(self) -> Iterator[Document]:
        alphabet_V = np.array(list(self.alphabet))
        for start in progress(range(0, self.num_documents, CHUNK_DOCUMENTS), "sampling text", "chunks"):
            numbers_B = torch.arange(start, min(start + CHUNK_DOCUMENTS, self.num_documents))
            for row in alphabet_V[self._chain.sample(keyed_random.key(self.seed, numbers_B), self.length).numpy()]:
                yield Document("".join(row))
