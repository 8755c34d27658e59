"""Rows of the table of a GPU, and how the sides of a path are timed."""

import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.benchmarks.paths import Setting
from tests.benchmarks.timing import timed

NETWORKS = {"tiny": (256, 8, 8), "small": (768, 12, 12)}  # width, blocks and heads of the paper's networks
WARM_UP = 3  # calls before the timed ones; the first of them compiles
TEXTBOOK = ("textbook, compiled", "textbook, eager")  # the faster one is the baseline


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        path: the hot path.
        side: one version of it.
        seconds: median time of a call or step; None if it was not measured.
        low: first quartile.
        high: third quartile.
        peak: additional bytes on the device at the peak of a call.
        tokens: tokens of a call.
        flops: operations of the matrix products of a call.
        dtype: precision of these products.
        first: seconds of the first call, which compiles.
        note: other facts, or the reason why nothing was measured.
    """

    path: str
    side: str
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    peak: int | None = None
    tokens: int | None = None
    flops: float | None = None
    dtype: str = ""
    first: float | None = None
    note: str = ""


class Case(NamedTuple):
    """How a path is measured.

    Attributes:
        device: the device.
        toy: use toy sizes and no compilation, to test the benchmark itself.
        rounds: timed calls of each side.
        out: JSON file for the rows, which is written after each side, so that a path that is ended leaves some.
    """

    device: torch.device
    toy: bool = False
    rounds: int = 7
    out: Path | None = None

    def save(self, rows: Iterable[Row]) -> None:
        """Write the rows that are measured so far."""
        if self.out is not None:
            self.out.write_text(json.dumps(list(rows)), encoding="utf-8")

    def setting(self, network: str, rows: int) -> Setting:
        """Return the size of a path: a network of the paper and a number of rows."""
        width, blocks, heads = (32, 1, 2) if self.toy else NETWORKS[network]
        V, B, L = (50, 4, 8) if self.toy else (30_522, rows, 128)
        return Setting(V, B, L, width, blocks, heads, self.device, torch.bfloat16)


def of_steps(path: str, side: str, seconds: Sequence[float], **more: Any) -> Row:
    """Return the row of a side whose steps were timed one by one."""
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Row(path, side, middle, low, high)._replace(**more)


def measure(path: str, case: Case, sides: Mapping[str, Callable[[], object]], **facts: Any) -> list[Row]:
    """Call all sides in turns and return their rows. A side that fails is left out; its row has the error."""
    rows: dict[str, Row] = {}
    on_cuda = case.device.type == "cuda"
    for side, call in sides.items():
        gc.collect()
        before = 0
        if on_cuda:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        started = time.perf_counter()
        try:
            timed(call)
            first = time.perf_counter() - started
            again = statistics.mean(timed(call) for _ in range(WARM_UP - 1))
            peak = torch.cuda.max_memory_allocated() - before if on_cuda else None
            note = f"mean of {WARM_UP - 1} calls; the path was ended before the sides took turns"
            rows[side] = Row(path, side, again, peak=peak, first=first, note=note)._replace(**facts)
        except Exception as error:  # one side that fails must not hide the others
            rows[side] = Row(path, side, note=first_line(error))
        case.save(rows.values())
    works = [side for side, row in rows.items() if row.first is not None]
    seconds: dict[str, list[float]] = {side: [] for side in works}
    for turn in range(case.rounds):
        for side in works if turn % 2 == 0 else reversed(works):
            seconds[side].append(timed(sides[side]))
    for side, taken in seconds.items():
        low, middle, high = statistics.quantiles(taken, n=4, method="inclusive")
        rows[side] = rows[side]._replace(seconds=middle, low=low, high=high, note="")
    return list(rows.values())


def first_line(error: BaseException) -> str:
    """Return the class and the first line of an error, short enough for a table."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"
