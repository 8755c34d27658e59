"""Progress of long work on stderr: a bar on a terminal, elsewhere one plain line every 30 seconds at most."""

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypeVar

from tqdm import tqdm
from typing_extensions import override

T = TypeVar("T")
DELAY = 2.0  # seconds that work takes before its progress is shown
INTERVAL = 30.0  # seconds between two lines
REDRAWN = 0.2  # seconds between two notes on a bar
MEASURING = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # bar of a measurement, with notes
LARGE = 10_000  # amounts from which on a bar counts in thousands


def shows_bars() -> bool:
    """Return whether progress is shown as bars: stderr is a terminal, and progress is not disabled."""
    return sys.stderr.isatty() and not _is_disabled()


def _is_disabled() -> bool:
    return Progress.silenced > 0 or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


@contextmanager
def silence_progress() -> Iterator[None]:
    """Show no progress within this context."""
    Progress.silenced += 1
    try:
        yield
    finally:
        Progress.silenced -= 1


class Progress:
    """Shows how much of some work is done and how long the rest will take, once it has taken two seconds.

    On a terminal it is a bar, which disappears at the end; work inside a measurement is a note on its bar. Elsewhere it
    is a line of text every 30 seconds at most, of all work that is under way in this process, with neither carriage
    returns nor cursor codes.

    Args:
        doing: name of the work.
        total: amount of work; None if it is not known.
        unit: of the amount; "it" is not written.
        initial: amount that was done before.
        **options: of `tqdm`, for a bar.

    Attributes:
        done: amount of work done so far.

    Example:
        >>> with Progress("reading", total=3) as progress:
        ...     for _ in range(3):
        ...         progress.update()
        >>> progress.done
        3
    """

    silenced: ClassVar[int] = 0
    measuring: ClassVar["Progress | None"] = None  # whose parts `announce` names
    _active: ClassVar[list["Progress"]] = []  # the outermost first
    _last_line: ClassVar[float] = -math.inf

    def __init__(
        self, doing: str, total: float | None = None, unit: str = "it", initial: float = 0, **options: Any
    ) -> None:
        self.doing, self.total, self.unit, self.done = doing, total, unit, initial
        self._initial, self._started, self._note = initial, time.monotonic(), ""
        self._bar: tqdm[Any] | None = None
        self._noted = -math.inf  # time of the last note
        self._outer = Progress.measuring if shows_bars() else None
        if shows_bars() and self._outer is None:
            large = total is None or total >= LARGE
            usual = {"unit": unit, "unit_scale": large, "delay": DELAY, "leave": False, "dynamic_ncols": True}
            self._bar = tqdm(desc=doing, total=total, initial=initial, **{**usual, **options})
        Progress._active.append(self)

    def update(self, amount: float = 1) -> None:
        """Add to the amount of work done."""
        self.done += amount
        if self._bar is not None:
            self._bar.update(amount)
        elif self._outer is not None:
            self._outer._show(self)
        elif not _is_disabled():
            self._write()

    def describe(self, doing: str, note: str) -> None:
        """Change the name of the work and add a note, which replaces the time left."""
        self.doing, self._note = doing, note
        if self._bar is not None:
            self._bar.set_description(doing, refresh=False)
            self._bar.set_postfix_str(note, refresh=False)

    def close(self) -> None:
        """End the display."""
        if self in Progress._active:
            Progress._active.remove(self)
        if Progress.measuring is self:
            Progress.measuring = None
        if self._bar is not None:
            self._bar.close()
        elif self._outer is not None and self._outer._bar is not None:
            self._outer._bar.set_postfix_str("", refresh=False)

    def _show(self, part: "Progress") -> None:
        """Write how much of a part is done behind the bar of this work, once the part has taken two seconds."""
        now = time.monotonic()
        if self._bar is not None and now - part._started >= DELAY and now - self._noted >= REDRAWN:
            self._noted = now
            self._bar.set_postfix_str(f"{part.doing} {part.done / part.total:.0%}" if part.total else part.doing)

    def _write(self) -> None:
        now = time.monotonic()
        if now - self._started >= DELAY and now - Progress._last_line >= INTERVAL:
            Progress._last_line = now
            started = [str(one) for one in Progress._active if now - one._started >= DELAY]
            sys.stderr.write(f"uddm: {'; '.join(started)}\n")

    @override
    def __str__(self) -> str:
        unit = "" if self.unit == "it" else f" {self.unit}"
        if not self.total:
            return f"{self.doing}: {self.done:,.0f}{unit}"
        if self._note:
            return f"{self.doing}: {self.done / self.total:.0%}, {self._note}"
        text = f"{self.doing}: {self.done:,.0f} of {self.total:,.0f}{unit}"
        if self.done <= self._initial:
            return text
        each = (time.monotonic() - self._started) / (self.done - self._initial)
        return f"{text}, about {format_duration(each * (self.total - self.done))} left"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def announce(part: str) -> None:
    """Name the part of a measurement that begins, on the display of the measurement if there is one."""
    if Progress.measuring is not None:
        Progress.measuring.describe(part, "")


def progress(items: Iterable[T], doing: str, unit: str = "it", total: int | None = None) -> Iterator[T]:
    """Yield the items and show how many were taken.

    Args:
        items: any iterable.
        doing: name of the work.
        unit: what an item is.
        total: number of items; None takes the length of `items` if it has one.
    """
    length = len(items) if total is None and isinstance(items, Sized) else total
    with Progress(doing, length, unit) as shown:
        for item in items:
            yield item
            shown.update()


def format_duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Example:
        >>> format_duration(12.3), format_duration(600), format_duration(9000)
        ('13 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
