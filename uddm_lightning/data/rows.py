"""Rows of tokens on disk: written once, memory-mapped for random access.

Shapes: N rows of a split, B requested rows, L positions of a row.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from hashlib import blake2b
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from uddm_lightning.data.checksums import content_hash
from uddm_lightning.data.packing.base import CHUNK_ROWS, PackedRows

if sys.byteorder != "little":  # pragma: no cover - CI has no such machine
    raise ImportError("uddm_lightning.data needs a little-endian machine: its files are little-endian.")

MAX_RESIDENT = 2**27  # bytes of a file that stay in memory
READ_AHEAD = 2**16  # bytes that the system loads with each row


class Rows:
    """Rows of a split. The files are memory-mapped at the first access, so that the object can be pickled.

    Args:
        folder: folder of the files.
        split: prefix of the file names.
        meta: metadata of the rows, as in `meta.json`: the numbers `rows` (N) and `length` (L); `dtype` of the ids,
            "uint16" or "uint32"; `special`, `lengths` and `document_ids`, whether there are such files; `hash`;
            `truncated_documents` and `truncated_tokens`, the numbers of documents and tokens that did not fit.

    Attributes:
        length: L.
        hash: hex hash of ids, special positions and lengths. Document numbers affect only the width of intervals and
            are left out.
    """

    def __init__(self, folder: Path, split: str, meta: dict[str, Any]) -> None:
        self._paths = _paths(folder, split)
        self.meta = meta
        self.length = int(meta["length"])
        self.hash = str(meta["hash"])
        self._files: tuple[_MappedFile, _MappedFile | None, _MappedFile | None, _MappedFile | None] | None = None

    def __len__(self) -> int:
        return int(self.meta["rows"])

    def tokens(self, ids: Tensor) -> Tensor:
        """Return the ids (B, L), int64, of the rows `ids` (B,)."""
        return torch.from_numpy(self.open()[0].rows(ids).astype(np.int64))

    def special(self, ids: Tensor) -> Tensor | None:
        """Return True (B, L) at begin, end and separator tokens; None if the packing adds none."""
        if (file := self.open()[1]) is None:
            return None
        return torch.from_numpy(np.unpackbits(file.rows(ids), axis=1, count=self.length).astype(np.bool_))

    def valid(self, ids: Tensor) -> Tensor | None:
        """Return False (B, L) at padding; None if there is no padding."""
        lengths = self._lengths(ids)
        return None if lengths is None else torch.arange(self.length) < torch.from_numpy(lengths)[:, None]

    def documents(self, ids: Tensor) -> Tensor | None:
        """Return the document (B,), int64, of the first token of each row; None if no two rows share a document."""
        file = self.open()[3]
        return None if file is None else torch.from_numpy(file.rows(ids).astype(np.int64))

    def chunks(self) -> Iterator[PackedRows]:
        """Yield all rows, in order."""
        for start in range(0, len(self), CHUNK_ROWS):
            ids = torch.arange(start, min(start + CHUNK_ROWS, len(self)))
            special, documents = self.special(ids), self.documents(ids)
            yield PackedRows(
                self.tokens(ids).numpy(),
                None if special is None else special.numpy(),
                self._lengths(ids),
                documents_N=None if documents is None else documents.numpy(),
            )

    def _lengths(self, ids: Tensor) -> NDArray[np.int64] | None:
        file = self.open()[2]
        return None if file is None else file.rows(ids).astype(np.int64)

    def remove(self) -> None:
        """Delete the files."""
        for path in self._paths:
            path.unlink(missing_ok=True)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": None}  # each process maps the files itself

    def open(self) -> tuple["_MappedFile", "_MappedFile | None", "_MappedFile | None", "_MappedFile | None"]:
        """Return the mapped files of ids, special positions, lengths and documents; map them at the first call."""
        if self._files is None:
            paths, rows, length = self._paths, len(self), self.length
            self._files = (
                _MappedFile(paths[0], self.meta["dtype"], (rows, length)),
                _MappedFile(paths[1], "uint8", (rows, (length + 7) // 8)) if self.meta["special"] else None,
                _MappedFile(paths[2], "uint32", (rows,)) if self.meta["lengths"] else None,
                _MappedFile(paths[3], "uint32", (rows,)) if self.meta["document_ids"] else None,
            )
        return self._files


class _MappedFile:
    """Memory-mapped array with one entry per row.

    Pages of a map count as memory of the process after they are read. They are released after every `MAX_RESIDENT`
    bytes; otherwise random access would end up with the whole file in memory.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        with path.open("rb") as stream:
            self._map = mmap(stream.fileno(), 0, access=ACCESS_READ)
        self._contents = np.ndarray(shape, dtype=dtype, buffer=self._map)
        self._read = 0

    def rows(self, ids: Tensor) -> NDArray[Any]:
        """Return a copy of the rows `ids` (B,)."""
        rows: NDArray[Any] = self._contents[ids.numpy()]
        self._read += len(ids) * READ_AHEAD + rows.nbytes
        if self._read > MAX_RESIDENT and self._contents.nbytes > MAX_RESIDENT:
            self._map.madvise(MADV_DONTNEED)  # the next access loads the pages again, usually from the page cache
            self._read = 0
        return rows


def write_rows(folder: Path, split: str, chunks: Iterable[PackedRows], length: int, vocab_size: int) -> Rows:
    """Write the rows of a split from a stream, and return them.

    Args:
        folder: folder of the files.
        split: prefix of the file names.
        chunks: the rows. Special positions, lengths and documents are each given for all chunks or for none.
        length: L.
        vocab_size: V; determines the number of bytes of an id.
    """
    dtype = "uint16" if vocab_size <= 2**16 else "uint32"
    files = _paths(folder, split)
    hashes = [blake2b(digest_size=16) for _ in files]
    exists = [True, False, False, False]
    rows = truncated_documents = truncated_tokens = 0
    is_shared, last = False, -1  # whether two rows share a document; document of the previous row
    with ExitStack() as opened:
        streams = [opened.enter_context(path.open("wb")) for path in files]
        for chunk in chunks:
            parts = (
                chunk.tokens_NL.astype(dtype),
                None if chunk.special_NL is None else np.packbits(chunk.special_NL, axis=1),
                None if chunk.lengths_N is None else chunk.lengths_N.astype(np.uint32),
                None if chunk.documents_N is None else chunk.documents_N.astype(np.uint32),
            )
            if chunk.documents_N is not None and len(chunk.documents_N):
                is_shared |= bool((np.diff(chunk.documents_N, prepend=last) == 0).any())
                last = int(chunk.documents_N[-1])
            for index, (stream, part) in enumerate(zip(streams, parts, strict=True)):
                if part is not None:
                    stream.write(part.tobytes())
                    hashes[index].update(part.tobytes())
                    exists[index] = True
            rows += len(chunk.tokens_NL)
            truncated_documents += chunk.truncated_documents
            truncated_tokens += chunk.truncated_tokens
    exists[3] &= is_shared
    for path, keep in zip(files, exists, strict=True):
        if not keep:
            path.unlink()
    header = f"{dtype}:{length}:{exists[:3]}".encode()
    meta = {
        "rows": rows,
        "length": length,
        "dtype": dtype,
        **dict(zip(("special", "lengths", "document_ids"), exists[1:], strict=True)),
        "hash": content_hash(header + b"".join(part.digest() for part in hashes[:3])),
        "truncated_documents": truncated_documents,
        "truncated_tokens": truncated_tokens,
    }
    return Rows(folder, split, meta)


def _paths(folder: Path, split: str) -> list[Path]:
    return [folder / f"{split}{suffix}.bin" for suffix in ("", "_special", "_lengths", "_documents")]
