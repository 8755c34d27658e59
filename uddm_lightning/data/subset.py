"""Nested training subsets: a larger one holds every smaller one."""

import math
from hashlib import blake2b

import torch
from torch import Tensor

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.progress import progress

BLOCK = 2**16  # rows that are evaluated at a time


class Subset:
    """The first rows of one permutation of the pool, which depends on seed and text and on nothing else.

    Args:
        pool: number of training rows to choose from.
        size: an integer is a number of rows, a float a fraction of the pool, at least one row.
        seed: chooses the permutation.
        corpus_hash: hex hash of the rows; another text gets another permutation.
    """

    def __init__(self, pool: int, size: int | float, seed: int, corpus_hash: str) -> None:
        self.pool = pool
        self.seed = seed
        self._size = rows_of(size, pool)
        self._text = hash_key(corpus_hash)

    def __len__(self) -> int:
        return self._size

    def rows(self, indices: Tensor) -> Tensor:
        """Pool rows at places `indices` of the subset, int64, of the same shape."""
        return keyed_random.permutation(indices, self.pool, Stream.SUBSET, self.seed, self._text)

    def hash(self) -> str:
        """Hex hash of the row numbers, in order."""
        digest = blake2b(digest_size=16)
        for start in progress(range(0, len(self), BLOCK), "subset", "blocks"):
            digest.update(self.rows(torch.arange(start, min(start + BLOCK, len(self)))).numpy().tobytes())
        return digest.hexdigest()


def check_size(size: int | float, key: str = "data.train_size") -> None:
    """Refuses what is neither a number of rows nor a fraction.

    Args:
        size: the number.
        key: where it was given.

    Raises:
        InputError: with the value and the way out.
    """
    way_out = "give a number of rows such as 512, or a fraction of the pool such as 0.25 (1.0 is everything)."
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise InputError(f"`{key}` is {size!r}; {way_out}")
    if isinstance(size, int) and size < 1:
        raise InputError(f"`{key}` is {size}, and a subset has at least one row; {way_out}")
    if isinstance(size, float) and not 0.0 < size <= 1.0:
        raise InputError(f"`{key}` is {size}, and a float is a fraction in (0, 1]; {way_out}")


def hash_key(text: str) -> int:
    """A hex hash as a 64-bit signed integer, a part of a noise key."""
    return int.from_bytes(bytes.fromhex(text)[:8], "little", signed=True)


def rows_of(size: int | float, pool: int, key: str = "data.train_size") -> int:
    """Number of rows that a size stands for.

    Args:
        size: rows, or a fraction of the pool.
        pool: rows that there are.
        key: where the size was given.

    Raises:
        InputError: it is no size, or the pool does not hold as many.
    """
    check_size(size, key)
    rows = size if isinstance(size, int) else max(1, math.floor(size * pool))
    if rows > pool:
        raise InputError(
            f"`{key}` is {size} but the corpus has only {pool} training rows; choose at most {pool}, give more "
            "text or a smaller `data.packing.length`."
        )
    return rows
