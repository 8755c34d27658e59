"""Writing files so that a killed program never leaves half of one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from uddm_lightning.errors import InputError


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
