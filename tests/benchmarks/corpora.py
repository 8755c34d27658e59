"""Compare the preparation of a corpus with the `tokenizers` library alone on the same text.

`ours` reads the documents, fingerprints and splits them, tokenises, packs, hashes and writes them, and opens the
memory-mapped cache.
`dense` is `encode_batch_fast` over the lines of the same documents in memory, without using its result; over whole
documents it is slower. Both sides use the library's threads only if torch has more than one.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from typing_extensions import override

from uddm_lightning.data import (
    BPETokenizer,
    CharacterTokenizer,
    Document,
    PretrainedTokenizer,
    SotuSpeeches,
    Tokenizer,
    WordPieceTokenizer,
    WrappedPacking,
    prepare_corpus,
)
from uddm_lightning.data.batching import batch_by_length

SPEECHES = 30  # for each row of the batch: all speeches by default
LETTERS = "abcdefghijklmnopqrstuvwxyz "
BATCH_CHARACTERS = 2**18  # characters per call of the library; more or fewer are not faster


class Sized(Protocol):
    """The part of the benchmark's setting that a path reads."""

    @property
    def V(self) -> int: ...
    @property
    def B(self) -> int: ...
    @property
    def L(self) -> int: ...


class FirstSpeeches(SotuSpeeches):
    """Some of the speeches, read from their files."""

    def __init__(self, number: int) -> None:
        self.number = number

    @override
    def documents(self) -> Iterator[Document]:
        return islice(super().documents(), self.number)


def bpe(setting: Sized) -> dict[str, Callable[[], object]]:
    """Byte pairs, trained before the timing."""
    return _sides(setting, BPETokenizer(max(setting.V, BPETokenizer.min_vocab_size)))


def wordpiece(setting: Sized) -> dict[str, Callable[[], object]]:
    """Word pieces, trained before the timing."""
    return _sides(setting, WordPieceTokenizer(max(setting.V, WordPieceTokenizer.min_vocab_size)))


def letters(setting: Sized) -> dict[str, Callable[[], object]]:
    """27 letters; the other side is the library with the character tokenizer of this package."""
    return _sides(setting, CharacterTokenizer(LETTERS, lowercase=True))


def characters(setting: Sized) -> dict[str, Callable[[], object]]:
    """All characters of the text, learned each time; the other side is as for letters."""
    return _sides(setting, CharacterTokenizer())


def _sides(setting: Sized, tokenizer: Tokenizer) -> dict[str, Callable[[], object]]:
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if torch.get_num_threads() > 1 else "false"
    source = FirstSpeeches(SPEECHES * setting.B)
    lines = [line for document in source.documents() for line in document.text.splitlines() if line.strip()]
    folder = Path(tempfile.mkdtemp(prefix="uddm-benchmark-"))
    tokenizer.fit(lines)
    if not isinstance(tokenizer, CharacterTokenizer):  # its training is timed, too
        (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        tokenizer = PretrainedTokenizer(str(folder / "tokenizer.json"))
    packing = WrappedPacking(setting.L)

    def ours() -> int:
        cache = folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        return len(prepare_corpus(source, tokenizer, packing, 0.1, str(cache)).train)

    def library() -> None:
        for batch in batch_by_length(lines, BATCH_CHARACTERS):
            tokenizer.backend.encode_batch_fast(batch, add_special_tokens=False)

    weakref.finalize(ours, shutil.rmtree, folder, ignore_errors=True)
    return {"ours": ours, "dense": library}


PATHS: dict[str, Callable[[Sized], dict[str, Callable[[], object]]]] = {
    "corpus, BPE": bpe,
    "corpus, WordPiece": wordpiece,
    "corpus, letters": letters,
    "corpus, characters": characters,
}
