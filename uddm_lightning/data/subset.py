"""Nested training subsets: each subset contains all smaller subsets."""

import math
from hashlib import blake2b

import torch
from torch import Tensor

from uddm_lightning.core import keyed_random
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.progress import progress

CHUNK_ROWS = 2**16  # rows per call of the permutation


class Subset:
    """First rows of a permutation of the training pool. The permutation depends only on seed and corpus.

    Args:
        pool: number of rows in the training pool.
        size: number of rows (int), or fraction of the pool in (0, 1] (float), which gives at least one row.
        seed: seed of the permutation.
        corpus_hash: hex hash of the corpus; each corpus has its own permutation.

    Raises:
        InputError: `size` is out of range.

    Example:
        >>> small, large = (Subset(100, size, seed=0, corpus_hash="0123456789abcdef") for size in (3, 0.5))
        >>> len(small), len(large)
        (3, 50)
        >>> torch.equal(small.rows(torch.arange(3)), large.rows(torch.arange(3)))
        True
    """

    def __init__(self, pool: int, size: int | float, seed: int, corpus_hash: str) -> None:
        self.pool = pool
        self.seed = seed
        self._size = num_rows(size, pool)
        self._corpus_key = key_from_hash(corpus_hash)

    def __len__(self) -> int:
        return self._size

    def rows(self, indices: Tensor) -> Tensor:
        """Return the pool rows at indices of the subset, int64, of the same shape."""
        return keyed_random.permutation(indices, self.pool, Stream.SUBSET, self.seed, self._corpus_key)

    def hash(self) -> str:
        """Return the hex hash of the row numbers, in order."""
        digest = blake2b(digest_size=16)
        for start in progress(range(0, len(self), CHUNK_ROWS), "subset", "chunks"):
            digest.update(self.rows(torch.arange(start, min(start + CHUNK_ROWS, len(self)))).numpy().tobytes())
        return digest.hexdigest()


def check_train_size(size: int | float, key: str = "data.train_size") -> None:
    """Check that a size is a number of rows or a fraction.

    Args:
        size: the size.
        key: config key or option of the size.

    Raises:
        InputError: it is neither.
    """
    remedy = "give a number of rows such as 512, or a fraction of the pool such as 0.25 (1.0 is the whole pool)."
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise InputError(f"`{key}` is {size!r}; {remedy}")
    if isinstance(size, int) and size < 1:
        raise InputError(f"`{key}` is {size}, but a subset has at least one row; {remedy}")
    if isinstance(size, float) and not 0.0 < size <= 1.0:
        raise InputError(f"`{key}` is {size}, but a float must be a fraction in (0, 1]; {remedy}")


def key_from_hash(hex_hash: str) -> int:
    """Return the first 64 bits of a hex hash as a signed integer, for a key of `keyed_random`."""
    return int.from_bytes(bytes.fromhex(hex_hash)[:8], "little", signed=True)


def num_rows(size: int | float, pool: int, key: str = "data.train_size") -> int:
    """Return the number of rows of a size.

    Args:
        size: number of rows, or fraction of the pool.
        pool: number of rows in the pool.
        key: config key or option of the size.

    Raises:
        InputError: the size is invalid or larger than the pool.
    """
    check_train_size(size, key)
    rows = size if isinstance(size, int) else max(1, math.floor(size * pool))
    if rows > pool:
        raise InputError(
            f"`{key}` is {size} but the corpus has only {pool} training rows; choose at most {pool}, use more text, or "
            "a smaller `data.packing.length`."
        )
    return rows
