"""Notices to the user while data are prepared."""

import sys

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm


@rank_zero_only
def notice(message: str) -> None:
    """Write one line to stderr, above a progress bar if there is one; only on rank 0."""
    tqdm.write(f"uddm: {message}", file=sys.stderr)
