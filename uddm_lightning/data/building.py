"""From text to the files of a corpus, in one stream and bounded memory."""

import io
import json
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.data import checksums as seal
from uddm_lightning.data.batching import batches
from uddm_lightning.data.fingerprints import changed
from uddm_lightning.data.packing.base import Block, EncodedDocument, Packing
from uddm_lightning.data.rows import Rows, write_rows
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.split import TEST, TRAIN, assign
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import Losses, sentence

CHARACTERS = 2**20  # that are tokenized together


def build(
    folder: Path, source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, about: dict[str, Any]
) -> None:
    """Writes all files of a corpus into an empty folder.

    Args:
        folder: where they go.
        source: the text.
        tokenizer: is fitted on the training documents.
        packing: lays documents into rows.
        test_fraction: share of documents to hold out.
        about: what the files are made from; goes into `meta.json` beside the counts.

    Raises:
        InputError: the text gives no row on one of the two sides, or has another number of documents at each reading.
    """
    sides = assign(source, test_fraction)
    tokenizer.fit(_TrainingSentences(source, sides, packing))
    vocab_size = tokenizer.vocab_size

    losses = Losses()

    def pack(side: int, doing: str) -> Iterator[Block]:
        texts = progress(_texts(source, sides, side), doing, "documents")
        return packing.pack(_encoded(texts, tokenizer, packing, losses), tokenizer)

    def write(split: str, blocks: Iterable[Block]) -> Rows:
        return write_rows(folder, split, blocks, packing.length, vocab_size)

    # Held-out rows come first: they are fewer, so their hashes fit into memory while the training rows pass by.
    every = write("every", pack(TEST, "Held-out rows"))
    last = np.array([2**64 - 1], dtype=np.uint64)  # so that there is a place for every hash
    wanted = np.concatenate([*map(_hashes, every.blocks()), last])
    wanted.sort()  # the first of several copies stands for all; `np.unique` would build a set of them beforehand
    seen = np.zeros(len(wanted), dtype=np.bool_)
    unigram = np.zeros(vocab_size, dtype=np.int64)

    def watched(blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            hashes = np.sort(_hashes(block))  # neighbours are looked up side by side
            places = np.searchsorted(wanted, hashes)
            seen[places[wanted[places] == hashes]] = True
            unigram[:] += np.bincount(_valid(block), minlength=vocab_size)
            yield block

    train = write("train", watched(pack(TRAIN, "Training rows")))
    test = write("test", (_some(block, ~seen[np.searchsorted(wanted, _hashes(block))]) for block in every.blocks()))
    every.remove()
    lost = losses.meta()
    _check(train, test, len(every), sentence(lost, tokenizer.blamed, "the text"))

    meta = {
        **about,
        "vocab_size": vocab_size,
        "lost": lost,
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


class _TrainingSentences:
    """Sentences of the training documents, as often as asked for."""

    def __init__(self, source: Source, sides: NDArray[np.int8], packing: Packing) -> None:
        self._source = source
        self._sides = sides
        self._packing = packing

    def __iter__(self) -> Iterator[str]:
        for text in progress(_texts(self._source, self._sides, TRAIN), "vocabulary", "documents"):
            yield from self._packing.sentences(text)


def _texts(source: Source, sides: NDArray[np.int8], side: int) -> Iterator[str]:
    number = 0
    for number, document in enumerate(source.documents(), 1):
        if number > len(sides):
            break
        if sides[number - 1] == side:
            yield document.text
    if number != len(sides):
        raise changed("The text of `data.source`")


def _encoded(texts: Iterable[str], tokenizer: Tokenizer, packing: Packing, losses: Losses) -> Iterator[EncodedDocument]:
    for batch in batches(texts, CHARACTERS):
        documents = [packing.sentences(text) for text in batch]
        lines = [line for sentences in documents for line in sentences]
        ids_of_lines = tokenizer.encode(lines)
        tokenizer.count_lost(lines, ids_of_lines, losses)
        encoded = iter(ids_of_lines)
        for sentences in documents:
            # a sentence may hold nothing that the tokenizer knows
            yield [ids for ids in (next(encoded) for _ in sentences) if ids]


def _hashes(block: Block) -> NDArray[np.uint64]:
    """64 bits: of 10^7 rows on either side, one in 10^5 corpora would lose a held-out row too many."""
    parts_NB = block.tokens_NL.astype(np.uint32).view(np.uint8)
    if block.lengths_N is not None:
        # without its length, a row that is filled up with id 0 would equal one that really ends with it
        parts_NB = np.concatenate([parts_NB, block.lengths_N[:, None].view(np.uint8)], axis=1)
    rows, width = parts_NB.shape
    content = parts_NB.tobytes()
    digests = (blake2b(content[row * width : (row + 1) * width], digest_size=8).digest() for row in range(rows))
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _valid(block: Block) -> NDArray[np.int64]:
    if block.lengths_N is None:
        return block.tokens_NL.reshape(-1)
    return block.tokens_NL[np.arange(block.tokens_NL.shape[1]) < block.lengths_N[:, None]]


def _some(block: Block, kept: NDArray[np.bool_]) -> Block:
    special_NL, lengths_N = block.special_NL, block.lengths_N
    return Block(
        block.tokens_NL[kept],
        None if special_NL is None else special_NL[kept],
        None if lengths_N is None else lengths_N[kept],
        documents_N=None if block.documents_N is None else block.documents_N[kept],
    )


def _check(train: Rows, test: Rows, every: int, lost: str) -> None:
    way_out = "give more text, a smaller `data.packing.length`, or smaller documents (`document: line`)."
    if lost:
        way_out = f"{lost}: choose another one, or {way_out}"
    if not len(train):
        raise InputError(f"The training text is too short for a single row of {train.length} tokens; {way_out}")
    if not every:
        raise InputError(f"The held-out text is too short for a single row of {train.length} tokens; {way_out}")
    if not len(test):
        raise InputError(f"All {every} held-out rows also occur in the training text; {way_out}")
