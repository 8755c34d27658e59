"""`python -m tests.benchmarks`: compare every hot path with a dense version of it, in one process, in turns.

On a GPU it measures other paths, at the sizes of a GPU; `gpu.sh` does that in at most six minutes.
"""

import argparse
import csv
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from tests.benchmarks import accelerator, accelerator_paths, loop, scaling
from tests.benchmarks.accelerator_case import Case
from tests.benchmarks.paths import PATHS, Setting
from tests.benchmarks.timing import MIB, compare, flops_of, machine, matmul_flops

HEAD = ("path", "side", "ms", "low", "high", "times as fast", "peak MiB", "tokens/s", "share of peak")


def main() -> None:
    """Print a table, and write it as CSV with `--csv`."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="PATH", action="append", help="a hot path; default: all of them")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default, help="default: a GPU if there is one")
    parser.add_argument("--toy", action="store_true", help="the paths of a GPU at toy size, to test the benchmark")
    parser.add_argument("--seconds", type=float, default=accelerator.SECONDS, help="time for all paths of a GPU")
    parser.add_argument("--worker", choices=accelerator_paths.PATHS, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each side")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--vocab", type=int, default=Setting().V, help="ids in the vocabulary")
    parser.add_argument("--batch", type=int, default=Setting().B, help="rows")
    parser.add_argument("--length", type=int, default=Setting().L, help="positions of a row")
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast on both sides")
    parser.add_argument("--compile", action="store_true", help="our side of the training step through torch.compile")
    parser.add_argument("--scaling", action="store_true", help="cost against V, L, batch, model size and N instead")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    parser.add_argument("--figure", type=Path, help="also draw the scaling curves there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    on_gpu = given.toy or (device.type == "cuda" and not given.scaling)
    known = accelerator_paths.PATHS if on_gpu else PATHS
    for path in given.only or ():
        if path not in known:
            parser.error(f"--only: there is no path {path!r}; choose from {', '.join(known)}")
    if on_gpu:
        case = Case(device, given.toy, given.rounds)
        if given.worker:
            accelerator.work(given.worker, case, given.csv)
            return
        sys.exit(0 if accelerator.run(case, given.only or (), given.seconds, given.csv) else 1)
    autocast = torch.bfloat16 if given.bf16 else None
    setting = Setting(given.vocab, given.batch, given.length, device=device, autocast=autocast, compiled=given.compile)
    speed = {dtype: matmul_flops(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    products = ", ".join(
        f"{str(dtype).removeprefix('torch.')} {value / 1e9:.0f} GFLOP/s" for dtype, value in speed.items()
    )
    sys.stdout.write(f"{machine(device)}, {given.threads} thread(s), torch {torch.__version__}; products: {products}\n")
    if given.scaling:
        rows = scaling.measure(setting, given.rounds)
        if given.figure:
            scaling.draw(rows, given.figure)
        table = [scaling.HEAD, *rows]
    else:
        sys.stdout.write(f"V = {setting.V}, batch {setting.B}, L = {setting.L}\n")
        peak = speed[autocast or torch.float32]
        paths = tqdm(given.only or list(PATHS), leave=False)
        table = [HEAD, *(row for path in paths for row in measure(path, setting, given.rounds, peak))]
    for row in table:
        sys.stdout.write("  ".join(f"{cell:>15}" for cell in row) + "\n")
    if given.csv:
        with given.csv.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


def measure(path: str, setting: Setting, rounds: int, peak: float) -> list[tuple[str, ...]]:
    """Return a row of the table for each side of a path; ratios are relative to the second side, the textbook."""
    sides = PATHS[path](setting)
    whole = path in ("training step", "reverse step", "entropy")  # the others run elsewhere or have no network
    # gradients inside a forward pass cannot be counted; both sides of a training step need the same products
    counted = {side: flops_of(sides["dense" if path == "training step" else side]) for side in sides if whole}
    found = compare(sides, rounds)
    textbook = found[list(sides)[1]].seconds
    tokens = loop.TOKENS if path == "quickstart step" else setting.tokens if whole else None
    rows = []
    for side, timing in found.items():
        milliseconds = [f"{1e3 * value:.1f}" for value in timing[:3]]
        memory = "" if timing.peak is None or not whole else f"{timing.peak / MIB:.0f}"
        share = f"{counted[side] / timing.seconds / peak:.2f}" if whole else ""
        speed = f"{tokens / timing.seconds:.0f}" if tokens else ""
        rows.append((path, side, *milliseconds, f"{textbook / timing.seconds:.2f}", memory, speed, share))
    return rows


if __name__ == "__main__":
    main()
