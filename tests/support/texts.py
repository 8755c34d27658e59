"""Small text, the same on every machine."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.data import (
    CharacterTokenizer,
    Corpus,
    Document,
    Packing,
    Rows,
    Source,
    Tokenizer,
    WrappedPacking,
    prepare_corpus,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz "
WORDS = ("the", "state", "of", "union", "is", "strong", "peace", "with", "all", "nations", "our", "people", "prosper")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Return distinct sentences of five words and a number in letters."""
    picks = keyed_random.integers(len(WORDS), seed, torch.arange(count)[:, None], torch.arange(5)).tolist()
    return [
        " ".join([*(WORDS[pick] for pick in row), "".join(LETTERS[int(digit)] for digit in str(number))])
        for number, row in enumerate(picks)
    ]


class ListSource(Source):
    """Source of given texts, or of pairs of text and official split."""

    def __init__(self, texts: Sequence[str | tuple[str, str | None]]) -> None:
        self._texts = texts
        self.reads = 0

    @override
    def documents(self) -> Iterator[Document]:
        self.reads += 1
        for text in self._texts:
            yield Document(text) if isinstance(text, str) else Document(*text)


LINES = [f"{line}, said [SEP] the Père." for line in sentences(200)]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "sep", "the", "state", "##s", "of"]


def fitted(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.fit(LINES)
    return tokenizer


def everything(rows: Rows) -> torch.Tensor:
    return rows.tokens(torch.arange(len(rows)))


def made(
    texts: Sequence[str | tuple[str, str | None]],
    tokenizer: Tokenizer | None = None,
    packing: Packing | None = None,
    test_fraction: float = 0.2,
) -> Corpus:
    return prepare_corpus(
        ListSource(texts), tokenizer or CharacterTokenizer(LETTERS), packing or WrappedPacking(8), test_fraction
    )


STRANGE = (
    "[SEP] [CLS] [PAD] [UNK] <unk> </s> <|endoftext|> 漢字 👩\u200d👩\u200d👧 e\u0301\u2028\x0b\x1c\x85 ï\U0010ffff"
)


def poem(folder: Path) -> str:
    (folder / "poem.txt").write_text("\n".join(sentences(30)), encoding="utf-8")
    return str(folder / "poem.txt")


def special_ids(tokenizer: Tokenizer) -> set[int]:
    ids = {tokenizer.bos_id, tokenizer.eos_id, tokenizer.separator_id, tokenizer.pad_id}
    return {number for number in ids if number is not None}
