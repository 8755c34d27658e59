"""Hashes of contents, which detect a change whatever the modification time of a file is."""

from hashlib import blake2b, file_digest
from pathlib import Path

from uddm_lightning.core.errors import InputError


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
