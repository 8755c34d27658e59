"""One look for every progress bar."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], doing: str, unit: str = "it") -> Iterable[T]:
    """Passes `items` on; a bar named `doing` appears when this takes more than two seconds, and leaves no trace."""
    return tqdm(items, desc=doing, unit=unit, unit_scale=True, delay=2, leave=False)
