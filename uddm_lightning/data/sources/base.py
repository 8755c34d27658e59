"""The contract of a source: a stream of documents that can be read again and again."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from uddm_lightning.core.progress import progress
from uddm_lightning.data.downloads import Download
from uddm_lightning.stats.markov_chain import MarkovChain


class Document(NamedTuple):
    """One piece of text that is held out as a whole or not at all.

    Attributes:
        text: its lines are its sentences.
        split: "train" or "test" where the source has an official split, else None.
    """

    text: str
    split: str | None = None


class SourceDistribution(NamedTuple):
    """Where documents come from, if that is known.

    Attributes:
        chain: every document is a row of this Markov chain.
        letters: the character that stands for each state.
        length: characters of a document.
    """

    chain: MarkovChain
    letters: str
    length: int


class Source(ABC):
    """Gives documents one after the other, so that a corpus may be larger than the memory."""

    @property
    def distribution(self) -> SourceDistribution | None:
        """The law of the text, where the source draws it from one; None for text of the world."""
        return None

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """All documents, in the same order at every call.

        Raises:
            InputError: the text is missing, damaged or not what it should be; the message names the file.
        """

    @classmethod
    def downloads(cls, **arguments: Any) -> list[Download]:
        """What a source with these arguments of its constructor would fetch from the hub; nothing, as a rule.

        It is asked before one is made, and takes no network.
        """
        return []

    def fingerprint(self) -> str:
        """Hex hash of all contents and official splits; it changes when they do, and with nothing else.

        A source that can hash its contents faster than by reading every document overrides this.
        """
        digest = blake2b(digest_size=16)
        for text, split in progress(self.documents(), "fingerprint", "documents"):
            content = text.encode("utf-8", "surrogatepass")
            digest.update(f"{split}:{len(content)}:".encode())
            digest.update(content)
        return digest.hexdigest()
