"""Which documents are held out."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.progress import progress
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import NUL

TRAIN, TEST = 0, 1
BLOCK = 4096  # documents that are looked at together
_CODES = {"train": TRAIN, "test": TEST, None: -1}

T = TypeVar("T")


def assign(source: Source, test_fraction: float) -> NDArray[np.int8]:
    """Decides for each document of the source on which side it is: an official split, or a hash of its text.

    The hash makes the decision independent of seeds, order and other documents, and puts copies on one side. If it
    leaves a side empty, as it may with a handful of documents, the document nearest to that side changes over.

    Args:
        source: the documents.
        test_fraction: share of documents to hold out.

    Returns:
        `TRAIN` or `TEST` for each document, in order.

    Raises:
        InputError: there are too few documents to have both sides.
    """
    side, lowest, highest = _cut(source, test_fraction)
    if lowest <= highest:  # some documents have no official side
        if not (side == TEST).any():
            side, _, _ = _cut(source, float(np.nextafter(lowest, 1.0)))
        elif not (side == TRAIN).any():
            side, _, _ = _cut(source, highest)
    if not len(side):
        raise InputError("`data.source` holds no document; give it some text.")
    for code, name in ((TRAIN, "train on"), (TEST, "hold out")):
        if not (side == code).any():
            raise InputError(
                f"`data.source` leaves no document to {name}: it needs at least two that differ; give it more text, "
                "smaller documents (`document: line`), or an official split."
            )
    return side


def _cut(source: Source, threshold: float) -> tuple[NDArray[np.int8], float, float]:
    """Side of each document; and the range of the uniform numbers that were compared with the threshold."""
    sides = [np.empty(0, dtype=np.int8)]
    lowest, highest = np.inf, -np.inf
    for block in batched(progress(source.documents(), "held-out split", "documents"), BLOCK):
        chance = keyed_random.uniform(Stream.HELD_OUT, torch.tensor([_hash(document) for document in block])).numpy()
        official = np.array([_official(document) for document in block], dtype=np.int8)
        sides.append(np.where(official >= 0, official, np.where(chance < threshold, TEST, TRAIN)).astype(np.int8))
        lowest = min(lowest, chance[official < 0].min(initial=np.inf))
        highest = max(highest, chance[official < 0].max(initial=-np.inf))
    return np.concatenate(sides), lowest, highest


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last one may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _hash(document: Document) -> int:
    if "\0" in document.text:  # of a source that does not look itself
        before = document.text.partition("\0")[0][-20:]
        raise InputError(f"`data.source`: after {before!r}, {NUL} Repair or remove it.")
    try:
        content = document.text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"`data.source`: a document has half a character ({error.object[error.start]!r}) after "
            f"{error.object[max(0, error.start - 20) : error.start]!r}; repair or remove it."
        ) from error
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def _official(document: Document) -> int:
    if document.split not in _CODES:
        raise InputError(f"`data.source` gives the split {document.split!r}; it must be train, test or None.")
    return _CODES[document.split]
