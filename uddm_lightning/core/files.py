"""Writing files so that a killed program never leaves half of one, and one program at a time."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import filelock

from uddm_lightning.core.errors import DiskFullError, InputError

ANOTHER = "Choose another folder with `--out`, or make this one writable."
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, a quota, the size that a file may have
LONG = 120.0  # seconds to wait for a lock that nobody holds for longer than it takes to write a table
PATIENCE = 2.0  # seconds to wait for a lock: who only looks whether it is held holds it for an instant, too


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that there is no space left."""
    return isinstance(error, OSError) and error.errno in FULL


def filesystem_error(what: str, error: OSError, way_out: str) -> InputError | DiskFullError:
    """What to raise for an error of the file system.

    Args:
        what: could not be done.
        error: why not.
        way_out: for those who can still write somewhere else; a full disk has its own.
    """
    full = is_full(error)
    message = f"{what}: {error.strerror or error}. {'What was there before is untouched.' if full else way_out}"
    return DiskFullError(message) if full else InputError(message)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file under a temporary name beside its place, then renames it: an old file stays until the new one is.

    Args:
        path: the file to write; its folder is made if need be.
        write: receives the temporary path and writes it.

    Raises:
        InputError: the folder cannot be written to.
        DiskFullError: there is no space left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise filesystem_error(f"Cannot write `{path}`", error, ANOTHER) from error
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # a disk may say only now that it is full; and a power cut must not empty the file
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise filesystem_error(f"Cannot write `{path}`", error, "What was there before is untouched.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_atomically`, for a text in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def locked(path: Path) -> AbstractContextManager[None]:
    """Holds a lock file during a short operation, and waits for other processes that do the same.

    Raises:
        InputError: another process has held it for `LONG` seconds; or the folder cannot be written to.
        DiskFullError: there is no space left.
    """
    refusal = f"Another process has held `{path}` for {LONG:g} seconds. Stop it, or wait for it, and try again."
    return held(path, refusal, LONG)


@contextmanager
def held(path: Path, refusal: str, patience: float = PATIENCE) -> Iterator[None]:
    """Holds a lock file, for as long as this process lives at the most; its folder is made if need be.

    Args:
        path: the lock file.
        refusal: message of the error when another program holds the lock.
        patience: seconds to wait for the lock.

    Raises:
        InputError: another program holds it, with the words of `refusal`; or the folder cannot be written to.
        DiskFullError: there is no space left.
    """
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except filelock.Timeout as error:
        raise InputError(refusal) from error
    except OSError as error:
        raise filesystem_error(f"Cannot write to `{path.parent}`", error, ANOTHER) from error
    try:
        yield
    finally:
        lock.release()
