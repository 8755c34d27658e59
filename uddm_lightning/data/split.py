"""Split of the documents into training and held-out documents."""

from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.progress import progress
from uddm_lightning.data.batching import batch_by_count
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import NUL

TRAIN, TEST = 0, 1
CHUNK_DOCUMENTS = 4096  # documents per tensor
_CODES = {"train": TRAIN, "test": TEST, None: -1}


def split_documents(source: Source, test_fraction: float) -> NDArray[np.int8]:
    """Return the split of each document: its official split, or else a split by the hash of its text.

    The hash makes the split independent of seeds, order and other documents, and copies get the same split. If all
    documents without an official split get the same split and the other one is empty, the document whose hash is next
    to the threshold moves.

    Args:
        source: the documents.
        test_fraction: fraction of documents to hold out, in (0, 1).

    Returns:
        `TRAIN` or `TEST` for each document, in order.

    Raises:
        InputError: one of the splits would be empty.
    """
    splits, lowest, highest = _split_at(source, test_fraction)
    if lowest <= highest:  # some documents have no official split
        if not (splits == TEST).any():
            splits, _, _ = _split_at(source, float(np.nextafter(lowest, 1.0)))
        elif not (splits == TRAIN).any():
            splits, _, _ = _split_at(source, highest)
    if not len(splits):
        raise InputError("`data.source` has no documents; add text to it.")
    for code, use in ((TRAIN, "train on"), (TEST, "hold out")):
        if not (splits == code).any():
            raise InputError(
                f"`data.source` leaves no document to {use}: it needs at least two different documents; use more text, "
                "smaller documents (`document: line`), or an official split."
            )
    return splits


def _split_at(source: Source, threshold: float) -> tuple[NDArray[np.int8], float, float]:
    """Return the splits at a threshold, and the smallest and largest uniform number that was compared with it."""
    splits = [np.empty(0, dtype=np.int8)]
    lowest, highest = np.inf, -np.inf
    documents = progress(source.documents(), "held-out split", "documents")
    for chunk in batch_by_count(documents, CHUNK_DOCUMENTS):
        hashes = torch.tensor([_hash(document) for document in chunk])
        uniform = keyed_random.uniform(Stream.HELD_OUT, hashes).numpy()
        official = np.array([_official_split(document) for document in chunk], dtype=np.int8)
        splits.append(np.where(official >= 0, official, np.where(uniform < threshold, TEST, TRAIN)).astype(np.int8))
        lowest = min(lowest, uniform[official < 0].min(initial=np.inf))
        highest = max(highest, uniform[official < 0].max(initial=-np.inf))
    return np.concatenate(splits), lowest, highest


def _hash(document: Document) -> int:
    if "\0" in document.text:  # third-party sources may not check their text
        context = document.text.partition("\0")[0][-20:]
        raise InputError(f"`data.source`: after {context!r}, {NUL} Repair or remove it.")
    try:
        content = document.text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"`data.source`: a document has an unpaired surrogate ({error.object[error.start]!r}) after "
            f"{error.object[max(0, error.start - 20) : error.start]!r}; repair or remove it."
        ) from error
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def _official_split(document: Document) -> int:
    if document.split not in _CODES:
        raise InputError(f"`data.source` gives the split {document.split!r}; it must be train, test or None.")
    return _CODES[document.split]
