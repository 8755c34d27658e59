"""Rows of tokens at rest: written once, read at random.

Shapes: N rows of a split, B rows asked for, L positions of a row.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from hashlib import blake2b
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from uddm_lightning.data.packing.base import BLOCK_ROWS, Block

if sys.byteorder != "little":  # pragma: no cover - no such machine at hand; the files would hold other bytes
    raise ImportError("uddm_lightning.data writes and reads little-endian files only.")


RESIDENT = 2**27  # bytes of a file that stay in memory
AROUND = 2**16  # bytes that come into memory with the first one that is read of a place


class RowsMeta(TypedDict):
    """What `meta.json` says about the rows of a split.

    Attributes:
        rows: N.
        length: L.
        dtype: of the ids: "uint16" or "uint32".
        special: whether there is a file of special positions.
        lengths: whether there is a file of lengths.
        document_ids: whether there is a file of the documents that rows are from.
        hash: hex hash of all contents; documents are none, for they decide nothing but errors.
        cut_documents: documents whose end did not fit.
        cut_tokens: tokens that were lost that way.
    """

    rows: int
    length: int
    dtype: str
    special: bool
    lengths: bool
    document_ids: bool
    hash: str
    cut_documents: int
    cut_tokens: int


class Rows:
    """Rows of a split, memory-mapped when they are first needed, so that a process may be handed the object.

    Args:
        folder: where the files lie.
        split: first part of their names.
        meta: what they hold.

    Attributes:
        meta: what they hold.
    """

    def __init__(self, folder: Path, split: str, meta: RowsMeta) -> None:
        self._folder = folder
        self._split = split
        self.meta = meta
        self._files: tuple[_File, _File | None, _File | None, _File | None] | None = None

    def __len__(self) -> int:
        return self.meta["rows"]

    @property
    def length(self) -> int:
        """L."""
        return self.meta["length"]

    @property
    def hash(self) -> str:
        """Hex hash of the contents."""
        return self.meta["hash"]

    def tokens(self, ids: Tensor) -> Tensor:
        """Ids (B, L), int64, of the rows `ids` (B,)."""
        return torch.from_numpy(self.open()[0].rows(ids).astype(np.int64))

    def special(self, ids: Tensor) -> Tensor | None:
        """True (B, L) where the packing put a begin, end or separator; None where it puts none."""
        if (file := self.open()[1]) is None:
            return None
        return torch.from_numpy(np.unpackbits(file.rows(ids), axis=1, count=self.length).astype(np.bool_))

    def valid(self, ids: Tensor) -> Tensor | None:
        """False (B, L) at padding; None where there is no padding."""
        lengths = self._lengths(ids)
        return None if lengths is None else torch.arange(self.length) < torch.from_numpy(lengths)[:, None]

    def documents(self, ids: Tensor) -> Tensor | None:
        """Number of the document (B,), int64, that the first token of each row is from; None where none gives two."""
        file = self.open()[3]
        return None if file is None else torch.from_numpy(file.rows(ids).astype(np.int64))

    def blocks(self) -> Iterator[Block]:
        """All rows, in order."""
        for start in range(0, len(self), BLOCK_ROWS):
            ids = torch.arange(start, min(start + BLOCK_ROWS, len(self)))
            special, documents = self.special(ids), self.documents(ids)
            yield Block(
                self.tokens(ids).numpy(),
                None if special is None else special.numpy(),
                self._lengths(ids),
                documents_N=None if documents is None else documents.numpy(),
            )

    def _lengths(self, ids: Tensor) -> NDArray[np.int64] | None:
        file = self.open()[2]
        return None if file is None else file.rows(ids).astype(np.int64)

    def remove(self) -> None:
        """Deletes the files."""
        for path in _paths(self._folder, self._split):
            path.unlink(missing_ok=True)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": None}  # another process maps them for itself

    def open(self) -> tuple["_File", "_File | None", "_File | None", "_File | None"]:
        """The files of ids, special positions, lengths and documents; they must be there the first time only."""
        if self._files is None:
            paths = _paths(self._folder, self._split)
            rows, length = len(self), self.length
            self._files = (
                _File(paths[0], self.meta["dtype"], (rows, length)),
                _File(paths[1], "uint8", (rows, _width(length))) if self.meta["special"] else None,
                _File(paths[2], "uint32", (rows,)) if self.meta["lengths"] else None,
                _File(paths[3], "uint32", (rows,)) if self.meta["document_ids"] else None,
            )
        return self._files


class _File:
    """One number or more for each row, memory-mapped.

    What has been read of a map counts as memory of the process until it is given back: a run that reads here and there
    would come to hold the whole file.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        with path.open("rb") as stream:
            self._map = mmap(stream.fileno(), 0, access=ACCESS_READ)
        self._contents = np.ndarray(shape, dtype=dtype, buffer=self._map)
        self._read = 0

    def rows(self, ids: Tensor) -> NDArray[Any]:
        """A copy of the rows `ids` (B,)."""
        found: NDArray[Any] = self._contents[ids.numpy()]
        self._read += len(ids) * AROUND + found.nbytes
        if self._read > RESIDENT and self._contents.nbytes > RESIDENT:
            self._map.madvise(MADV_DONTNEED)  # comes back when it is read again, as a rule without the disk
            self._read = 0
        return found


def write_rows(folder: Path, split: str, blocks: Iterable[Block], length: int, vocab_size: int) -> Rows:
    """Writes the rows of a split as they come.

    Args:
        folder: where the files go.
        split: first part of their names.
        blocks: the rows; all of them have special positions, or none has, and the same for lengths and documents.
        length: L.
        vocab_size: V; decides how many bytes an id takes.
    """
    dtype = "uint16" if vocab_size <= 2**16 else "uint32"
    files = _paths(folder, split)
    hashes = [blake2b(digest_size=16) for _ in files]
    filled = [True, False, False, False]
    rows = cut_documents = cut_tokens = 0
    shared, last = False, -1  # whether a document gives two rows; that of the row before
    with ExitStack() as opened:
        streams = [opened.enter_context(path.open("wb")) for path in files]
        for block in blocks:
            parts = (
                block.tokens_NL.astype(dtype),
                None if block.special_NL is None else np.packbits(block.special_NL, axis=1),
                None if block.lengths_N is None else block.lengths_N.astype(np.uint32),
                None if block.documents_N is None else block.documents_N.astype(np.uint32),
            )
            if block.documents_N is not None and len(block.documents_N):
                shared |= bool((np.diff(block.documents_N, prepend=last) == 0).any())
                last = int(block.documents_N[-1])
            for number, (stream, part) in enumerate(zip(streams, parts, strict=True)):
                if part is not None:
                    stream.write(part.tobytes())
                    hashes[number].update(part.tobytes())
                    filled[number] = True
            rows += len(block.tokens_NL)
            cut_documents += block.cut_documents
            cut_tokens += block.cut_tokens
    filled[3] &= shared
    for path, kept in zip(files, filled, strict=True):
        if not kept:
            path.unlink()
    header = f"{dtype}:{length}:{filled[:3]}".encode()
    content = blake2b(header + b"".join(part.digest() for part in hashes[:3]), digest_size=16).hexdigest()
    return Rows(
        folder,
        split,
        RowsMeta(
            rows=rows,
            length=length,
            dtype=dtype,
            special=filled[1],
            lengths=filled[2],
            document_ids=filled[3],
            hash=content,
            cut_documents=cut_documents,
            cut_tokens=cut_tokens,
        ),
    )


def _paths(folder: Path, split: str) -> list[Path]:
    return [folder / f"{split}{what}.bin" for what in ("", "_special", "_lengths", "_documents")]


def _width(length: int) -> int:
    """Bytes that hold one bit for each position."""
    return (length + 7) // 8
