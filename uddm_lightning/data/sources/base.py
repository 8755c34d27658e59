"""Base class of sources."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.core.progress import progress
from uddm_lightning.data.downloads import Download


class Document(NamedTuple):
    """Unit of text that is held out as a whole or not at all.

    Attributes:
        text: text of the document.
        split: "train" or "test" if the source has an official split, else None.
    """

    text: str
    split: str | None = None


class SourceDistribution(NamedTuple):
    """Known distribution of documents: independent samples of a Markov chain.

    Attributes:
        chain: the Markov chain.
        alphabet: character of each state.
        length: characters per document.
    """

    chain: MarkovChain
    alphabet: str
    length: int


class Source(ABC):
    """Stream of documents, which may be larger than the memory.

    Example:
        >>> class NumberSource(Source):
        ...     def documents(self):
        ...         for number in range(3):
        ...             yield Document(f"This is number {number}.")
        >>> [document.text for document in NumberSource().documents()][-1]
        'This is number 2.'
        >>> NumberSource().fingerprint()
        'ba9b3f5d8ef8027c065b2f10809dae33'
    """

    @property
    def distribution(self) -> SourceDistribution | None:
        """Known distribution of the documents; None for natural text."""
        return None

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yield all documents, in the same order at every call.

        Raises:
            InputError: the text is missing, damaged or in the wrong format; the message names the file.
        """

    @classmethod
    def downloads(cls, **arguments: Any) -> list[Download]:
        """Return the downloads of a source with these constructor arguments, without network access."""
        return []

    def fingerprint(self) -> str:
        """Return a hex hash that depends only on the contents and the official splits.

        Override it if the contents can be hashed without reading each document.
        """
        digest = blake2b(digest_size=16)
        for text, split in progress(self.documents(), "fingerprint", "documents"):
            content = text.encode("utf-8", "surrogatepass")
            digest.update(f"{split}:{len(content)}:".encode())
            digest.update(content)
        return digest.hexdigest()
