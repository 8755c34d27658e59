"""The command `uddm doctor`: what this machine is, and whether it counts right."""

import argparse
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from tqdm import tqdm

from uddm_lightning import __version__
from uddm_lightning.data.corpus import cache_folder
from uddm_lightning.doctor.checks import Check, Checks

PACKAGES = ("torch", "lightning", "torchmetrics", "jsonargparse", "datasets", "tokenizers", "tensorboard", "numpy")


def doctor(arguments: list[str]) -> int:
    """Runs `uddm doctor`; returns its exit status: 0 where every check has passed, else 1."""
    parser = argparse.ArgumentParser(
        prog="uddm doctor",
        description="Versions, devices, threads, and a self-check of some seconds against models whose answers are "
        "known exactly. Needs no data and no network.",
    )
    parser.parse_args(arguments)
    sys.stdout.write("\n".join(machine()) + "\n\n")
    devices = [torch.device("cpu"), *(torch.device("cuda", number) for number in range(torch.cuda.device_count()))]
    started = time.monotonic()
    todo = [(device, check) for device in devices for check in Checks(device).all()]
    found = [(device, run(check)) for device, check in tqdm(todo, desc="Checks", delay=2, leave=False)]
    sys.stdout.write("\n".join(table(found)) + "\n")
    failed = sum(not check.passed for _, check in found)
    words = f"{failed} of {len(found)} checks FAILED" if failed else f"all {len(found)} checks passed"
    sys.stdout.write(f"{words} in {time.monotonic() - started:.1f} s\n")
    return int(failed > 0)


def run(check: Callable[[], Check]) -> Check:
    """Runs a check; one that cannot be run has failed."""
    try:
        return check()
    except RuntimeError as error:  # what torch raises where a device or an operation is missing
        name = getattr(check, "func", check).__name__.replace("_", " ")
        return Check(f"{name}: {str(error).splitlines()[0][:80]}", math.nan, 0)


def machine() -> list[str]:
    """Versions, devices, threads and the cache, a line for each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    cache = cache_folder()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return [
        f"uddm_lightning {__version__}, Python {platform.python_version()} on {platform.platform()}",
        ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        f"CPU: {cores} core(s), {torch.get_num_threads()} thread(s) of torch; GPU: {', '.join(gpus) or 'none'}",
        f"cache: {cache}, {shutil.disk_usage(there).free / 2**30:.1f} GiB free"
        + ("" if os.access(there, os.W_OK) else "; it CANNOT be written: set $UDDM_CACHE"),
    ]


def table(found: list[tuple[torch.device, Check]]) -> list[str]:
    """The checks with their figures, a line for each."""
    lines = [f"{'check':<58} {'device':<8} {'error':>9} {'tolerance':>9}"]
    for device, check in found:
        verdict = "pass" if check.passed else "FAIL"
        lines.append(f"{check.name:<58} {device!s:<8} {check.error:>9.2g} {check.tolerance:>9.2g}  {verdict}")
    return lines
