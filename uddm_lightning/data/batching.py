"""Group the items of a stream into lists."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
SizedT = TypeVar("SizedT", bound=Sized)


def batch_by_count(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` consecutive items; the last list may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def batch_by_length(items: Iterable[SizedT], size: int) -> Iterator[list[SizedT]]:
    """Yield lists of consecutive items. A list ends with the item that brings the sum of lengths to `size`."""
    batch: list[SizedT] = []
    total = 0
    for item in items:
        batch.append(item)
        total += len(item)
        if total >= size:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
