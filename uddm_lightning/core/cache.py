"""The folder of prepared corpora."""

import os
from pathlib import Path


def cache_folder(cache_dir: str | None = None) -> Path:
    """Return the folder of prepared corpora: `cache_dir`, $UDDM_CACHE, or `~/.cache/uddm_lightning`."""
    return Path(cache_dir or os.environ.get("UDDM_CACHE") or "~/.cache/uddm_lightning").expanduser()
