"""One look for every progress bar, and for notices between them."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], doing: str, unit: str = "it") -> Iterable[T]:
    """Passes `items` on; a bar named `doing` appears when this takes more than two seconds, and leaves no trace."""
    return tqdm(items, desc=doing, unit=unit, unit_scale=True, delay=2, leave=False)


@rank_zero_only
def notice(message: str) -> None:
    """Writes one line for the user, beside a bar and not across it."""
    tqdm.write(f"uddm: {message}", file=sys.stderr)
