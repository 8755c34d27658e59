"""Build the files of a corpus from text, in one stream and with bounded memory."""

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
from uddm_lightning.data.batching import batch_by_length
from uddm_lightning.data.checksums import changed_while_read, content_hash, write_checksums
from uddm_lightning.data.packing.base import EncodedDocument, PackedRows, Packing
from uddm_lightning.data.rows import Rows, write_rows
from uddm_lightning.data.sources.base import Source
from uddm_lightning.data.split import TEST, TRAIN, split_documents
from uddm_lightning.data.tokenizers.base import Tokenizer
from uddm_lightning.data.tokenizers.losses import TokenizationLosses, loss_message

BATCH_CHARACTERS = 2**20  # characters per call of the tokenizer


def build_corpus(
    folder: Path, source: Source, tokenizer: Tokenizer, packing: Packing, test_fraction: float, spec: dict[str, Any]
) -> None:
    """Write all files of a corpus to an empty folder.

    Args:
        folder: the folder.
        source: source of the text.
        tokenizer: tokenizer; it is fitted on the training documents.
        packing: packing of documents into rows.
        test_fraction: fraction of documents to hold out.
        spec: data that determine the corpus; `meta.json` stores them beside the counts.

    Raises:
        InputError: the training or the held-out text gives no row, or the number of documents changes between two
            readings.
    """
    splits = split_documents(source, test_fraction)
    tokenizer.fit(_TrainingSentences(source, splits, packing))
    vocab_size = tokenizer.vocab_size
    losses = TokenizationLosses()

    def pack(split: int, label: str) -> Iterator[PackedRows]:
        texts = progress(_texts(source, splits, split), label, "documents")
        return packing.pack(_encode(texts, tokenizer, packing, losses), tokenizer)

    def write(name: str, chunks: Iterable[PackedRows]) -> Rows:
        return write_rows(folder, name, chunks, packing.length, vocab_size)

    # Held-out rows are packed first: they are few, so their hashes fit in memory while the training rows are packed.
    held_out = write("held_out", pack(TEST, "held-out rows"))
    sentinel = np.array([2**64 - 1], dtype=np.uint64)  # `searchsorted` then returns a valid index for every hash
    test_hashes = np.concatenate([*map(_row_hashes, held_out.chunks()), sentinel])
    test_hashes.sort()  # `searchsorted` finds the first of equal hashes; `np.unique` would need more memory
    in_train = np.zeros(len(test_hashes), dtype=np.bool_)
    unigram = np.zeros(vocab_size, dtype=np.int64)

    def observe(chunks: Iterable[PackedRows]) -> Iterator[PackedRows]:
        for chunk in chunks:
            hashes = np.sort(_row_hashes(chunk))  # sorted queries access memory in order
            indices = np.searchsorted(test_hashes, hashes)
            in_train[indices[test_hashes[indices] == hashes]] = True
            unigram[:] += np.bincount(_valid_tokens(chunk), minlength=vocab_size)
            yield chunk

    def without_train(chunks: Iterable[PackedRows]) -> Iterator[PackedRows]:
        for chunk in chunks:
            yield chunk.select(~in_train[np.searchsorted(test_hashes, _row_hashes(chunk))])

    train = write("train", observe(pack(TRAIN, "training rows")))
    test = write("test", without_train(held_out.chunks()))
    held_out.remove()
    lost = losses.to_dict()
    if lost["characters"] and lost["dropped"] == lost["characters"]:
        raise InputError(
            f"{tokenizer.lossy_key[:1].upper()}{tokenizer.lossy_key[1:]} drops every character of the text "
            f"({', '.join(map(repr, lost['dropped_examples']))}, ...), so no row is left; add these characters to it, "
            "or leave `alphabet` out to take all characters of the text."
        )
    _check_not_empty(train, test, len(held_out), loss_message(lost, tokenizer.lossy_key, "the text"))

    meta = {
        **spec,
        "vocab_size": vocab_size,
        "lost": lost,
        "tokenizer_hash": content_hash(tokenizer.to_json()),
        "train": {"documents": int((splits == TRAIN).sum()), **train.meta},
        "test": {
            "documents": int((splits == TEST).sum()),
            **test.meta,
            "truncated_documents": held_out.meta["truncated_documents"],
            "truncated_tokens": held_out.meta["truncated_tokens"],
            "removed": len(held_out) - len(test),
        },
    }
    counts = io.BytesIO()
    np.save(counts, unigram)  # into a buffer first: numpy hides a full disk when it writes to a file
    (folder / "unigram.npy").write_bytes(counts.getvalue())
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    (folder / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
    write_checksums(folder)


class _TrainingSentences:
    """Iterable over the sentences of the training documents."""

    def __init__(self, source: Source, splits: NDArray[np.int8], packing: Packing) -> None:
        self._source = source
        self._splits = splits
        self._packing = packing

    def __iter__(self) -> Iterator[str]:
        for text in progress(_texts(self._source, self._splits, TRAIN), "vocabulary", "documents"):
            yield from self._packing.sentences(text)


def _texts(source: Source, splits: NDArray[np.int8], split: int) -> Iterator[str]:
    number = 0
    for number, document in enumerate(source.documents(), 1):
        if number > len(splits):
            break
        if splits[number - 1] == split:
            yield document.text
    if number != len(splits):
        raise changed_while_read("The text of `data.source`")


def _encode(
    texts: Iterable[str], tokenizer: Tokenizer, packing: Packing, losses: TokenizationLosses
) -> Iterator[EncodedDocument]:
    for batch in batch_by_length(texts, BATCH_CHARACTERS):
        documents = [packing.sentences(text) for text in batch]
        lines = [line for sentences in documents for line in sentences]
        ids_of_lines = tokenizer.encode(lines)
        tokenizer.count_losses(lines, ids_of_lines, losses)
        encoded = iter(ids_of_lines)
        for sentences in documents:
            # a sentence has no ids if the tokenizer drops all of its characters
            yield [ids for ids in (next(encoded) for _ in sentences) if ids]


def _row_hashes(chunk: PackedRows) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row. With 10^7 rows per split, one corpus in 10^5 has a false duplicate."""
    bytes_NB = chunk.tokens_NL.astype(np.uint32).view(np.uint8)
    if chunk.lengths_N is not None:
        # the length distinguishes padding with id 0 from text that ends with id 0
        bytes_NB = np.concatenate([bytes_NB, chunk.lengths_N[:, None].view(np.uint8)], axis=1)
    rows, width = bytes_NB.shape
    content = bytes_NB.tobytes()
    digests = (blake2b(content[row * width : (row + 1) * width], digest_size=8).digest() for row in range(rows))
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _valid_tokens(chunk: PackedRows) -> NDArray[np.int64]:
    if chunk.lengths_N is None:
        return chunk.tokens_NL.reshape(-1)
    return chunk.tokens_NL[np.arange(chunk.tokens_NL.shape[1]) < chunk.lengths_N[:, None]]


def _check_not_empty(train: Rows, test: Rows, held_out: int, lost: str) -> None:
    remedy = "use more text, a smaller `data.packing.length`, or smaller documents (`document: line`)."
    if lost:
        remedy = f"{lost}: use another tokenizer, or {remedy}"
    if not len(train):
        raise InputError(f"The training text is too short for a row of {train.length} tokens; {remedy}")
    if not held_out:
        raise InputError(f"The held-out text is too short for a row of {train.length} tokens; {remedy}")
    if not len(test):
        raise InputError(f"All {held_out} held-out rows also occur in the training text; {remedy}")
