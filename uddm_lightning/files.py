"""Writing files so that a killed program never leaves half of one, and one program at a time."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from uddm_lightning.errors import InputError

PATIENCE = 2.0  # seconds to wait for a lock: who only looks whether it is held holds it for an instant, too


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file under a temporary name beside its place, then renames it: an old file stays until the new one is.

    Args:
        path: the file to write; its folder is made if need be.
        write: receives the temporary path and writes it.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise InputError(
            f"Cannot write `{path}`: {error.strerror or error}. Choose another folder with `--out`."
        ) from error
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"Cannot write `{path}`: {error.strerror or error}. What was there before is untouched."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_atomically`, for a text in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Holds a lock file, for as long as this process lives at the most; its folder is made if need be.

    Raises:
        InputError: another program holds it, with the words of `refusal`; or the folder cannot be written to.
    """
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout as error:
        raise InputError(refusal) from error
    except OSError as error:
        raise InputError(
            f"Cannot write to `{path.parent}`: {error.strerror or error}. Choose another folder with `--out`."
        ) from error
    try:
        yield
    finally:
        lock.release()
