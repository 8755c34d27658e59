"""Compare functions in one process, in turns, by medians with their spread and by memory."""

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

MIB = 2**20


class Seconds(float):
    """Time that a call measures itself, of a part of it or of one of many repetitions."""


class Timing(NamedTuple):
    """Result of one side of a comparison.

    Attributes:
        seconds: median time of a call.
        low: first quartile.
        high: third quartile.
        peak: additional bytes that a call allocates at its peak; None if the system does not report it.
    """

    seconds: float
    low: float
    high: float
    peak: int | None


def compare(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Call every side in turns, `rounds` times after one warm-up call.

    Args:
        sides: functions by name.
        rounds: timed calls of each.
    """
    peaks = {name: peak_of(call) for name, call in sides.items()}  # warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            seconds[name].append(timed(sides[name]))
    found = {}
    for name, taken in seconds.items():
        low, middle, high = statistics.quantiles(taken, n=4) if len(taken) > 1 else taken * 3
        found[name] = Timing(middle, low, high, peaks[name])
    return found


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of a call: those that it returns itself, by events on a CUDA device, or by the clock."""
    if not torch.cuda.is_available():
        started = time.perf_counter()
        result = call()
        return float(result) if isinstance(result, Seconds) else time.perf_counter() - started
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    result = call()
    end.record()
    end.synchronize()
    return float(result) if isinstance(result, Seconds) else start.elapsed_time(end) / 1e3


class StepClock:
    """Records the ends of steps, by events on a CUDA device, so that no step waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.on_cuda = device.type == "cuda"
        self.ends: list[float | torch.cuda.Event] = []

    def tick(self) -> None:
        """Record the end of a step."""
        if not self.on_cuda:
            self.ends.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.ends.append(event)

    def steps(self, skip: int = 0) -> list[float]:
        """Return the seconds between the ends of two steps, without the first `skip` steps."""
        _wait()
        pairs = pairwise(self.ends[skip:])
        if self.on_cuda:
            return [first.elapsed_time(second) / 1e3 for first, second in pairs]  # type: ignore[union-attr, arg-type]  # all are events
        return [second - first for first, second in pairs]  # type: ignore[operator]  # all are numbers


def peak_of(call: Callable[[], object]) -> int | None:
    """Return the additional bytes that a call allocates at its peak."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    status = Path("/proc/self/status")
    if not status.exists():
        call()
        return None
    ctypes.CDLL(None).malloc_trim(0)  # memory freed by earlier calls must not hide the peak of this call
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # reset the peak that the kernel keeps
    before = _kib(status, "VmRSS")
    call()
    return max(0, _kib(status, "VmHWM") - before) * 1024


def machine(device: torch.device) -> str:
    """Return the name of the processor or accelerator."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _kib(status: Path, field: str) -> int:
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def flops_of(call: Callable[[], object]) -> int:
    """Return the floating-point operations of the matrix products of a call, including gradients."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def matmul_flops(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Return the floating-point operations per second of a square matrix product, an upper limit for this hardware."""
    a = torch.randn(size, size, device=device).to(dtype)
    timing = compare({"matmul": lambda: a @ a}, rounds=5)["matmul"]
    return 2 * size**3 / timing.seconds
