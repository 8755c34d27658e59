"""Describe this machine: versions, devices, threads and cache."""

import os
import platform
import shutil
from importlib.metadata import version

import torch

from uddm_lightning import __version__
from uddm_lightning.core.cache import cache_folder

PACKAGES = ("torch", "lightning", "torchmetrics", "jsonargparse", "datasets", "tokenizers", "tensorboard", "numpy")


def machine_lines() -> list[str]:
    """Return versions, devices, threads and the cache folder, one line each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    cache = cache_folder()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    writable = "" if os.access(existing, os.W_OK) else "; it CANNOT be written: set $UDDM_CACHE"
    return [
        f"uddm_lightning {__version__}, Python {platform.python_version()} on {platform.platform()}",
        ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        f"CPU: {cores} core(s), {torch.get_num_threads()} thread(s) of torch; GPU: {', '.join(gpus) or 'none'}",
        f"cache: {cache}, {shutil.disk_usage(existing).free / 2**30:.1f} GiB free{writable}",
    ]
