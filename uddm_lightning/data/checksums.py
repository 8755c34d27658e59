"""Checksums of the files in a folder, which detect damaged files.

A file is intact if its size and modification time are unchanged. If only the modification time differs (a copy, a
backup, an edit in place), the contents are hashed.
"""

import json
from contextlib import suppress
from pathlib import Path

from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.data.fingerprints import file_hash

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
