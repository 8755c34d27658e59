"""From text to the files of a corpus, in one stream and bounded memory."""

import io
import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.data import seal
from uddm_lightning.data.batching import batches
from uddm_lightning.data.packing.base import Block, EncodedDocument, Packing
from uddm_lightning.data.progress import progress
from uddm_lightning.data.rows import Rows, write_rows
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.split import TEST, TRAIN, assign
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.errors import InputError

CHARACTERS = 2**20  # that are tokenized together


def build(
    folder: Path, source: Source, tokenizer: Tokenizer, packing: Packing, held_out: float, about: dict[str, Any]
) -> None:
    """Writes all files of a corpus into an empty folder.

    Args:
        folder: where they go.
        source: the text.
        tokenizer: is fitted on the training documents.
        packing: lays documents into rows.
        held_out: share of documents to hold out.
        about: what the files are made from; goes into `meta.json` beside the counts.

    Raises:
        InputError: the text gives no row on one of the two sides.
    """
    sides = assign(source, held_out)
    tokenizer.fit(_TrainingLines(source, sides))
    vocab_size = tokenizer.vocab_size

    def pack(side: int, doing: str) -> Iterator[Block]:
        return packing.pack(_encoded(progress(_texts(source, sides, side), doing, " documents"), tokenizer), tokenizer)

    def write(split: str, blocks: Iterable[Block]) -> Rows:
        return write_rows(folder, split, blocks, packing.length, vocab_size)

    # Held-out rows come first: they are fewer, so their hashes fit into memory while the training rows pass by.
    every = write("every", pack(TEST, "Held-out rows"))
    wanted = {row for block in every.blocks() for row in _hashes(block)}
    seen: set[bytes] = set()
    unigram = np.zeros(vocab_size, dtype=np.int64)

    def watched(blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            seen.update(wanted.intersection(_hashes(block)))
            unigram[:] += np.bincount(_valid(block), minlength=vocab_size)
            yield block

    train = write("train", watched(pack(TRAIN, "Training rows")))
    test = write("test", (_without(block, seen) for block in every.blocks()))
    every.remove()
    _check(train, test, len(every))

    meta = {
        **about,
        "vocab_size": vocab_size,
        "tokenizer_hash": blake2b(tokenizer.to_json().encode(), digest_size=16).hexdigest(),
        "train": {"documents": int((sides == TRAIN).sum()), **train.meta},
        "test": {
            "documents": int((sides == TEST).sum()),
            **test.meta,
            "cut_documents": every.meta["cut_documents"],
            "cut_tokens": every.meta["cut_tokens"],
            "removed": len(every) - len(test),
        },
    }
    counts = io.BytesIO()
    np.save(counts, unigram)  # into a file, an error would not say that the disk is full
    (folder / "unigram.npy").write_bytes(counts.getvalue())
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    (folder / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
    seal.close(folder)


class _TrainingLines:
    """Non-empty lines of the training documents, as often as asked for."""

    def __init__(self, source: Source, sides: NDArray[np.int8]) -> None:
        self._source = source
        self._sides = sides

    def __iter__(self) -> Iterator[str]:
        for text in progress(_texts(self._source, self._sides, TRAIN), "Vocabulary", " documents"):
            yield from _lines(text)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _texts(source: Source, sides: NDArray[np.int8], side: int) -> Iterator[str]:
    return (document.text for document, here in zip(source.documents(), sides, strict=True) if here == side)


def _encoded(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[EncodedDocument]:
    for batch in batches(texts, CHARACTERS):
        documents = [_lines(text) for text in batch]
        sentences = iter(tokenizer.encode([line for lines in documents for line in lines]))
        for lines in documents:
            # a line may hold nothing that the tokenizer knows
            yield [ids for ids in (next(sentences) for _ in lines) if ids]


def _hashes(block: Block) -> list[bytes]:
    # without its length, a row that is filled up with id 0 would equal one that really ends with it
    lengths = [b""] * len(block.tokens_NL) if block.lengths_N is None else [bytes(n) for n in block.lengths_N[:, None]]
    rows = zip(block.tokens_NL, lengths, strict=True)
    return [blake2b(row.tobytes() + length, digest_size=16).digest() for row, length in rows]


def _valid(block: Block) -> NDArray[np.int64]:
    if block.lengths_N is None:
        return block.tokens_NL.reshape(-1)
    return block.tokens_NL[np.arange(block.tokens_NL.shape[1]) < block.lengths_N[:, None]]


def _without(block: Block, seen: set[bytes]) -> Block:
    kept = np.array([row not in seen for row in _hashes(block)], dtype=np.bool_)
    special_NL, lengths_N = block.special_NL, block.lengths_N
    return Block(
        block.tokens_NL[kept],
        None if special_NL is None else special_NL[kept],
        None if lengths_N is None else lengths_N[kept],
    )


def _check(train: Rows, test: Rows, every: int) -> None:
    way_out = "give more text, a smaller `data.packing.length`, or smaller documents (`document: line`)."
    if not len(train):
        raise InputError(f"The training text is too short for a single row of {train.length} tokens; {way_out}")
    if not every:
        raise InputError(f"The held-out text is too short for a single row of {train.length} tokens; {way_out}")
    if not len(test):
        raise InputError(f"All {every} held-out rows also occur in the training text; {way_out}")
