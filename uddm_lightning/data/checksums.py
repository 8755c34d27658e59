"""Whether the files of a folder still hold what was written into them.

Looking costs nothing as long as nobody has touched them: size and time of the last change are those in the seal. Where
only the time differs (a copy, a backup, or bytes that were changed in place), the contents are hashed.
"""

import json
from contextlib import suppress
from hashlib import blake2b, file_digest
from pathlib import Path

from uddm_lightning.core.errors import DiskFullError, InputError
from uddm_lightning.core.files import write_text

NAME = "seal.json"


def close(folder: Path) -> None:
    """Writes down size, time and hash of all files of a folder, beside them."""
    files = {path.name: [*_look(path), _hash(path)] for path in sorted(folder.iterdir())}
    write_text(folder / NAME, json.dumps(files, indent=2))


def check(folder: Path) -> None:
    """Compares the files of a folder with its seal, and renews the times there if need be.

    Raises:
        OSError: a file is missing or has other contents, or there is no seal; a damaged one raises a ValueError, too.
    """
    files = json.loads((folder / NAME).read_text(encoding="utf-8"))
    if not isinstance(files, dict) or not files:
        raise OSError(f"`{folder / NAME}` names no files.")
    touched = False
    for name, (size, time, content) in files.items():
        path = folder / name
        found = _look(path)
        if found == [size, time]:
            continue
        if found[0] != size or _hash(path) != content:
            raise OSError(f"`{path}` does not hold what was written into it.")
        files[name], touched = [*found, content], True
    if touched:
        with suppress(InputError, DiskFullError):  # in a folder that cannot be written to, the next look hashes again
            write_text(folder / NAME, json.dumps(files, indent=2))


def _look(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
