"""Whether a text is still what it was: by its contents, whatever the times of its files say."""

from hashlib import blake2b, file_digest
from pathlib import Path

from uddm_lightning.core.errors import InputError


def file_hash(path: Path) -> str:
    """Hex hash of a file's contents.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def changed(what: str) -> InputError:
    """The error for what changed while it was read, so that nobody knows what was read."""
    return InputError(
        f"{what} changed while it was read; nothing was kept of it. Give the same command again when no other program "
        "writes to it."
    )
