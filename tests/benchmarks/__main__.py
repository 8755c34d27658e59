"""`python -m tests.benchmarks`: every hot path against a dense textbook version of itself, in one process, in turns."""

import argparse
import csv
import platform
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from tests.benchmarks.paths import PATHS, Setting
from tests.benchmarks.timing import MIB, compare, matmul_flops

HEAD = ("path", "side", "ms", "low", "high", "times faster", "peak MiB", "tokens per second")


def main() -> None:
    """Prints a table, and writes it as CSV where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=PATHS, action="append", help="a hot path; default: all of them")
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each side")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--vocab", type=int, default=Setting().V, help="ids in the vocabulary")
    parser.add_argument("--batch", type=int, default=Setting().B, help="rows")
    parser.add_argument("--length", type=int, default=Setting().L, help="positions of a row")
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    autocast = torch.bfloat16 if given.bf16 else None
    setting = Setting(V=given.vocab, B=given.batch, L=given.length, device=device, autocast=autocast)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    speed = {dtype: matmul_flops(device, dtype) / 1e9 for dtype in (torch.float32, torch.bfloat16)}
    sys.stdout.write(
        f"{name}, {given.threads} thread(s), torch {torch.__version__}, V = {setting.V}, batch {setting.B}, "
        f"L = {setting.L}; matrix products: "
        + ", ".join(f"{str(dtype).removeprefix('torch.')} {value:.0f} GFLOP/s" for dtype, value in speed.items())
        + "\n"
    )
    rows = [
        row for path in tqdm(given.only or list(PATHS), leave=False) for row in measure(path, setting, given.rounds)
    ]
    for row in (HEAD, *rows):
        sys.stdout.write("  ".join(f"{cell:>16}" for cell in row) + "\n")
    if given.csv:
        with given.csv.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


def measure(path: str, setting: Setting, rounds: int) -> list[tuple[str, ...]]:
    """A row of the table for each side of a path."""
    found = compare(PATHS[path](setting), rounds)
    rows = []
    for side, timing in found.items():
        milliseconds = [f"{1e3 * value:.1f}" for value in (timing.seconds, timing.low, timing.high)]
        ratio = found["dense"].seconds / timing.seconds
        peak = "" if timing.peak is None else f"{timing.peak / MIB:.0f}"
        rows.append((path, side, *milliseconds, f"{ratio:.2f}", peak, f"{setting.tokens / timing.seconds:.0f}"))
    return rows


if __name__ == "__main__":
    main()
