"""Temporary folders that exist until the process ends."""

import tempfile
from pathlib import Path

_folders: list[tempfile.TemporaryDirectory[str]] = []  # of opened models, which read their files on use


def keep_folder() -> Path:
    """Return a new folder that exists until the process ends."""
    _folders.append(tempfile.TemporaryDirectory(prefix="uddm-"))
    return Path(_folders[-1].name)
