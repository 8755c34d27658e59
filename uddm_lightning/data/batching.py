"""Text a little at a time."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T", bound=Sized)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of consecutive items whose lengths add up to `size` or little more; the last one may be smaller."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += len(item)
        if total >= size:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
