"""Local text files."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Literal

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.data.checksums import file_hash
from uddm_lightning.data.sources.base import Document, Source
from uddm_lightning.data.sources.reading import read_column, read_document, read_lines, read_records

KINDS = (".txt", ".jsonl", ".parquet")


@dataclass(eq=False)
class TextFiles(Source):
    r"""Plain text (`.txt`), JSON Lines (`.jsonl`) and Parquet (`.parquet`) files, each optionally gzipped (`.txt.gz`).

    Text is UTF-8; `uddm_lightning.data.newlines` defines line ends.

    Args:
        paths: files or glob patterns (`**` matches nested folders); read in sorted order.
        document: unit of a document of a `.txt` file: each non-empty line, each paragraph between blank lines, or the
            whole file. In other files, each record is a document.
        field: field or column with the text of a record.
        test_paths: files or patterns of an official test split; all of `paths` is then training text.
        any_file: read files with other suffixes, such as `.py`, as plain text, and skip files without text.

    Raises:
        ValueError: `document` has another value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.txt").write_text("First line.\n\nSecond line.\n")
        ...     [document.text for document in TextFiles(f"{folder}/*.txt").documents()]
        ['First line.', 'Second line.']
    """

    paths: str | list[str]
    document: Literal["line", "paragraph", "file"] = "line"
    field: str = "text"
    test_paths: str | list[str] | None = None
    any_file: bool = False

    def __post_init__(self) -> None:
        if self.document not in ("line", "paragraph", "file"):
            raise ValueError(f"`document` must be line, paragraph or file, got {self.document!r}.")

    @override
    def documents(self) -> Iterator[Document]:
        for path, split in self._files():
            empty = True
            for text in self._texts(path):
                if text.strip():
                    empty = False
                    yield Document(text, split)
            if empty and not self.any_file:
                raise InputError(f"`{path}` contains no text; add text to it or remove it from `paths`.")

    @override
    def fingerprint(self) -> str:
        digest = blake2b(repr((self.document, self.field)).encode(), digest_size=16)
        for path, split in progress(self._files(), "fingerprint", "files"):
            digest.update(f"{split}:{path.suffixes[-2:]}:".encode())
            digest.update(bytes.fromhex(file_hash(path)))
        return digest.hexdigest()

    @property
    def files(self) -> list[Path]:
        """The files of `paths`, sorted."""
        return _resolve(self.paths, "paths", self.any_file)

    def _files(self) -> list[tuple[Path, str | None]]:
        train = self.files
        if self.test_paths is None:
            return [(path, None) for path in train]
        test = _resolve(self.test_paths, "test_paths", self.any_file)
        if both := sorted({path.resolve() for path in train} & {path.resolve() for path in test}):
            raise InputError(
                f"`{both[0]}` is in `paths` and in `test_paths`; training and held-out text must not overlap."
            )
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


def _resolve(patterns: str | list[str], key: str, any_file: bool) -> list[Path]:
    """Return the files that match the patterns, without duplicates, sorted."""
    found: set[Path] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        expanded = Path(pattern).expanduser()
        if expanded.is_dir():
            raise InputError(f"`{key}`: `{pattern}` is a folder; name its files, e.g. `{Path(pattern) / '*.txt'}`.")
        # a file name may contain wildcard characters
        names = [str(expanded)] if expanded.exists() else glob.glob(str(expanded), recursive=True)
        if missing := [name for name in sorted(names) if not Path(name).exists()]:
            raise InputError(
                f"`{key}`: `{missing[0]}` is a broken link or was just removed; restore the file or remove the link."
            )
        files = [path for path in map(Path, names) if path.is_file()]
        if not files:
            raise InputError(f"`{key}`: no file matches `{pattern}` (working folder `{Path.cwd()}`); check the path.")
        found.update(files)
    for path in found:
        if _kind(path) not in KINDS and not any_file:
            raise InputError(
                f"`{key}`: `{path}` has an unknown suffix; use {', '.join(KINDS)}, optionally followed by .gz, or set "
                "`any_file` to read it as plain text."
            )
    if not found:
        raise InputError(f"`{key}` is empty; give at least one path or pattern.")
    return sorted(found)
