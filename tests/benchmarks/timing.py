"""Compare functions in one process, in turns, by medians with their spread and by memory."""

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

MIB = 2**20


class Seconds(float):
    """What a call returns that takes its own time: of a part of it, or of one of many repetitions."""


class Timing(NamedTuple):
    """How one side of a comparison did.

    Attributes:
        seconds: median time of a call.
        low: first quartile.
        high: third quartile.
        peak: bytes that a call takes beyond what was there before it; None where the system does not tell.
    """

    seconds: float
    low: float
    high: float
    peak: int | None


def compare(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Calls every side in turns, `rounds` times after one call to warm up.

    Args:
        sides: what to call, by name.
        rounds: timed calls of each.
    """
    peaks = {name: peak_of(call) for name, call in sides.items()}  # warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            _wait()
            started = time.perf_counter()
            result = sides[name]()
            _wait()
            seconds[name].append(float(result) if isinstance(result, Seconds) else time.perf_counter() - started)
    found = {}
    for name, taken in seconds.items():
        low, middle, high = statistics.quantiles(taken, n=4) if len(taken) > 1 else taken * 3
        found[name] = Timing(middle, low, high, peaks[name])
    return found


def peak_of(call: Callable[[], object]) -> int | None:
    """Bytes that a call takes at its peak, beyond what was taken before."""
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
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have freed must not hide what this one takes
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel forgets the earlier peak
    before = _kib(status, "VmRSS")
    call()
    return max(0, _kib(status, "VmHWM") - before) * 1024


def machine(device: torch.device) -> str:
    """Name of the processor or the accelerator."""
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
    """Floating-point operations of the matrix products of a call, its gradients included."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def matmul_flops(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Floating-point operations a second of a square matrix product: what this hardware can do at best."""
    a = torch.randn(size, size, device=device).to(dtype)
    timing = compare({"matmul": lambda: a @ a}, rounds=5)["matmul"]
    return 2 * size**3 / timing.seconds
