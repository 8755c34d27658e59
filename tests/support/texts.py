"""Small text, the same on every machine."""

from collections.abc import Iterator, Sequence

import torch
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.data import Document, Source

LETTERS = "abcdefghijklmnopqrstuvwxyz "
WORDS = ("the", "state", "of", "union", "is", "strong", "peace", "with", "all", "nations", "our", "people", "prosper")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct sentences of five words and a number in letters."""
    picks = keyed_random.integers(len(WORDS), seed, torch.arange(count)[:, None], torch.arange(5)).tolist()
    return [
        " ".join([*(WORDS[pick] for pick in row), "".join(LETTERS[int(digit)] for digit in str(number))])
        for number, row in enumerate(picks)
    ]


class ListSource(Source):
    """Documents given as texts, or as pairs of text and official split."""

    def __init__(self, texts: Sequence[str | tuple[str, str | None]]) -> None:
        self._texts = texts
        self.reads = 0

    @override
    def documents(self) -> Iterator[Document]:
        self.reads += 1
        for text in self._texts:
            yield Document(text) if isinstance(text, str) else Document(*text)
