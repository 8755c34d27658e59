"""Atomic file writes and lock files."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import filelock

from uddm_lightning.core.errors import DiskFullError, InputError

CHOOSE_FOLDER = "Choose another folder with `--out`, or make this one writable."
UNCHANGED = "The previous content is unchanged."
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full disk, exceeded quota, largest file size
UPDATE_TIMEOUT = 120.0  # seconds; an update of a table holds its lock for a few seconds at most
LOCK_TIMEOUT = 2.0  # seconds; a process that only tests a lock holds it for an instant


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error means that no disk space is left."""
    return isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS


def filesystem_error(failure: str, error: OSError, way_out: str) -> InputError | DiskFullError:
    """Return the error to raise for an error of the file system.

    Args:
        failure: beginning of the message: the operation that failed.
        error: the original error.
        way_out: end of the message unless the disk is full.
    """
    disk_full = is_disk_full(error)
    message = f"{failure}: {error.strerror or error}. {UNCHANGED if disk_full else way_out}"
    return DiskFullError(message) if disk_full else InputError(message)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Readers see either the previous file or the complete new one, even if the program is killed.

    Args:
        path: file to write; missing parent folders are created.
        write: function that writes the file at the path it receives.

    Raises:
        InputError: the folder is not writable.
        DiskFullError: no disk space is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise filesystem_error(f"Cannot write `{path}`", error, CHOOSE_FOLDER) from error
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # reports a full disk now, and keeps the content after a power failure
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise filesystem_error(f"Cannot write `{path}`", error, UNCHANGED) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def check_output_files(files: Mapping[str, Path | None]) -> None:
    """Check that the files of a command can be written, before it works for minutes.

    Args:
        files: by option, with its dashes; None is not given.

    Raises:
        InputError: a file is a folder, is named twice, or cannot be written; the message names the option.
        DiskFullError: no disk space is left.
    """
    options: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f"`{option} {path}` is a folder; give the path of a file.")
        if other := options.get(path.absolute()):
            raise InputError(f"`{other}` and `{option}` both name `{path}`; give two files.")
        options[path.absolute()] = option
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise filesystem_error(f"`{option} {path}` cannot be written", error, "Give another file.") from error


def lock_for_update(path: Path) -> AbstractContextManager[None]:
    """Hold a lock file during a short update, after waiting for other processes that update.

    Raises:
        InputError: another process has held the lock for `UPDATE_TIMEOUT` seconds, or the folder is not writable.
        DiskFullError: no disk space is left.
    """
    refusal = f"Another process has held `{path}` for {UPDATE_TIMEOUT:g} seconds. Stop it, or wait for it, and retry."
    return hold_lock(path, refusal, UPDATE_TIMEOUT)


@contextmanager
def hold_lock(path: Path, refusal: str, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold a lock file inside the context. The operating system releases it if the process ends.

    Args:
        path: lock file; missing parent folders are created.
        refusal: error message if another process holds the lock.
        timeout: seconds to wait for the lock.

    Raises:
        InputError: another process holds the lock (with the message `refusal`), or the folder is not writable.
        DiskFullError: no disk space is left.
    """
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout)
    except filelock.Timeout as error:
        raise InputError(refusal) from error
    except OSError as error:
        raise filesystem_error(f"Cannot write to `{path.parent}`", error, CHOOSE_FOLDER) from error
    try:
        yield
    finally:
        lock.release()
