"""Hashes of contents, and checksums of the files in a folder, which detect damaged files.

A file is intact if its size and modification time are unchanged. If only the modification time differs (a copy, a
backup, an edit in place), the contents are hashed.
"""

import json
from contextlib import suppress
from hashlib import blake2b, file_digest
from pathlib import Path

from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import write_text

NAME = "checksums.json"


def write_checksums(folder: Path) -> None:
    """Write size, modification time and hash of all files of a folder to `checksums.json` in it."""
    files = {path.name: [*_size_and_time(path), file_hash(path)] for path in sorted(folder.iterdir())}
    write_text(folder / NAME, json.dumps(files, indent=2))


def verify_checksums(folder: Path) -> None:
    """Compare the files of a folder with its checksums, and update stored modification times where they differ.

    Raises:
        OSError: a file is missing or has other contents, or `checksums.json` is missing.
        ValueError: `checksums.json` is damaged, or a file cannot be read.
    """
    files = json.loads((folder / NAME).read_text(encoding="utf-8"))
    if not isinstance(files, dict) or not files:
        raise OSError(f"`{folder / NAME}` lists no files.")
    outdated = False
    for name, (size, time, content) in files.items():
        path = folder / name
        current = _size_and_time(path)
        if current == [size, time]:
            continue
        if current[0] != size or file_hash(path) != content:
            raise OSError(f"`{path}` has other contents than were written to it.")
        files[name], outdated = [*current, content], True
    if outdated:
        with suppress(InputError, DiskFullError):  # in a read-only folder, the next verification hashes again
            write_text(folder / NAME, json.dumps(files, indent=2))


def _size_and_time(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def content_hash(content: str | bytes) -> str:
    """Return the hex hash of a text or of bytes."""
    return blake2b(content.encode() if isinstance(content, str) else content, digest_size=16).hexdigest()


def file_hash(path: Path) -> str:
    """Return the hex hash of a file's contents.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def changed_while_read(name: str) -> InputError:
    """Return the error for a text or file that changed while it was read."""
    return InputError(
        f"{name} changed while it was read; nothing was saved. Run the command again when no program writes to it."
    )
