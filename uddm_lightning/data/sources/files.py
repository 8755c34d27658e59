"""Text files of one's own."""

import glob
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Literal

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.data.fingerprints import file_hash
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import read_column, read_document, read_lines, read_records

KINDS = (".txt", ".jsonl", ".parquet")


class TextFiles(Source):
    """Plain text, JSON Lines and Parquet files, told apart by suffix, each optionally gzipped (`.txt.gz`).

    Text is UTF-8; where a line of it ends is defined in `uddm_lightning.data.newlines`.

    Args:
        paths: files or glob patterns (`**` crosses folders); read in sorted order.
        document: what a document of a `.txt` file is: each non-empty line, each paragraph between blank lines, or the
            whole file. A record of the other kinds is a document.
        field: field or column that holds the text of a record.
        test_paths: files or patterns of an official test split; `paths` are then all training text.
    """

    def __init__(
        self,
        paths: str | list[str],
        document: Literal["line", "paragraph", "file"] = "line",
        field: str = "text",
        test_paths: str | list[str] | None = None,
    ) -> None:
        if document not in ("line", "paragraph", "file"):
            raise ValueError(f"`document` must be line, paragraph or file, got {document!r}.")
        self.paths = paths
        self.document = document
        self.field = field
        self.test_paths = test_paths

    @override
    def documents(self) -> Iterator[Document]:
        for path, split in self._files():
            empty = True
            for text in self._texts(path):
                if text.strip():
                    empty = False
                    yield Document(text, split)
            if empty:
                raise InputError(f"`{path}` holds no text; fill it or take it out of `paths`.")

    @override
    def fingerprint(self) -> str:
        digest = blake2b(repr((self.document, self.field)).encode(), digest_size=16)
        for path, split in progress(self._files(), "fingerprint", "files"):
            digest.update(f"{split}:{path.suffixes[-2:]}:".encode())
            digest.update(bytes.fromhex(file_hash(path)))
        return digest.hexdigest()

    def _files(self) -> list[tuple[Path, str | None]]:
        train = _resolve(self.paths, "paths")
        if self.test_paths is None:
            return [(path, None) for path in train]
        test = _resolve(self.test_paths, "test_paths")
        if both := sorted({path.resolve() for path in train} & {path.resolve() for path in test}):
            raise InputError(f"`{both[0]}` is in `paths` and in `test_paths`; held-out text must not be trained on.")
        return [*((path, "train") for path in train), *((path, "test") for path in test)]

    def _texts(self, path: Path) -> Iterator[str]:
        kind = _kind(path)
        if kind == ".jsonl":
            return read_records(path, self.field)
        if kind == ".parquet":
            return read_column(path, self.field)
        if self.document == "line":
            return read_lines(path)
        if self.document == "paragraph":
            parts = groupby(read_lines(path), key=lambda line: bool(line.strip()))
            return ("\n".join(lines) for filled, lines in parts if filled)
        return iter([read_document(path)])


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _resolve(patterns: str | list[str], key: str) -> list[Path]:
    """Existing files that the patterns name, each once, sorted."""
    found: set[Path] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        expanded = Path(pattern).expanduser()
        if expanded.is_dir():
            raise InputError(f"`{key}`: `{pattern}` is a folder; name its files, e.g. `{Path(pattern) / '*.txt'}`.")
        # a file may be called by a name that reads like a pattern
        names = [str(expanded)] if expanded.exists() else glob.glob(str(expanded), recursive=True)
        if gone := [name for name in sorted(names) if not Path(name).exists()]:
            raise InputError(
                f"`{key}`: `{gone[0]}` is a link to nothing, or was removed this moment; restore or remove it."
            )
        files = [path for path in map(Path, names) if path.is_file()]
        if not files:
            raise InputError(f"`{key}`: no file matches `{pattern}` (seen from `{Path.cwd()}`); check the path.")
        found.update(files)
    for path in found:
        if _kind(path) not in KINDS:
            raise InputError(
                f"`{key}`: `{path}` has an unknown suffix; known are {', '.join(KINDS)}, each also with .gz behind it."
            )
    if not found:
        raise InputError(f"`{key}` names no file; give at least one path or pattern.")
    return sorted(found)
