"""Properties of devices that decide how code runs on them.

Shapes: N elements.
"""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor


def is_asynchronous(device: torch.device) -> bool:
    """Return whether the host only queues operations on a device.

    Such a device runs best without results that the host reads, because reading waits for all queued operations, and
    with few different shapes, because libraries plan and compile for each shape.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.devices import is_asynchronous
        >>> is_asynchronous(torch.device("cpu")), is_asynchronous(torch.device("cuda"))
        (False, True)
    """
    return device.type != "cpu"


def machine_name(device: torch.device, number: int = 1) -> str:
    """Return the name of the machine's GPU, or of its CPU with the number of cores that this process may use.

    Args:
        device: that computes.
        number: of such devices, for a GPU.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.devices import machine_name
        >>> machine_name(torch.device("cpu")).endswith(("1 core", "cores"))
        True
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return name if number == 1 else f"{number} x {name}"
    if device.type != "cpu":
        return f"{platform.machine()}, {device.type}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system than Linux
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(found, "") or platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def use_tensor_cores(device: torch.device) -> None:
    """Let float32 matrix products on a CUDA device round their factors to TF32, unless a precision was chosen before.

    The products are several times as fast; a factor keeps 10 bits of its fraction instead of 23. Products in float64
    and products on a CPU do not change.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.devices import use_tensor_cores
        >>> use_tensor_cores(torch.device("cpu"))
        >>> torch.get_float32_matmul_precision()
        'highest'
    """
    if device.type == "cuda" and torch.get_float32_matmul_precision() == "highest":
        torch.set_float32_matmul_precision("high")


def true_indices(mask_N: Tensor, smallest: int) -> Tensor:
    """Return the indices of the true elements of a mask, in ascending order.

    On an asynchronous device indices of false elements follow, so that the number of indices is 0, a power of two or N.
    The host reads one number.

    Args:
        mask_N: bool mask.
        smallest: smallest positive number of indices on an asynchronous device, at most N.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.devices import true_indices
        >>> true_indices(torch.tensor([False, True, False, True]), smallest=1)
        tensor([1, 3])
    """
    if not is_asynchronous(mask_N.device):
        return mask_N.nonzero()[:, 0]
    count = int(mask_N.sum())
    size = min(len(mask_N), max(smallest, 1 << (count - 1).bit_length())) if count else 0
    return mask_N.byte().argsort(descending=True, stable=True)[:size]


def replace_where(mask_N: Tensor, values: Callable[[Tensor | slice], Tensor], kept_N: Tensor) -> Tensor:
    """Return `values` where a mask is true and `kept_N` elsewhere, without waiting for an asynchronous device.

    Args:
        mask_N: bool mask.
        values: function that returns the values of some elements, given by indices or by a slice. An asynchronous
            device computes those of all elements.
        kept_N: values where the mask is false.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.devices import replace_where
        >>> squares_N = torch.arange(4) ** 2
        >>> replace_where(torch.tensor([False, True, False, True]), lambda some: squares_N[some], torch.zeros(4).long())
        tensor([0, 1, 0, 9])
    """
    if is_asynchronous(mask_N.device):
        return torch.where(mask_N, values(slice(None)), kept_N)
    indices = mask_N.nonzero()[:, 0]
    return kept_N.index_copy(0, indices, values(indices)) if len(indices) else kept_N.clone()
