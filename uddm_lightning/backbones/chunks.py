"""Size of the chunks of logits on each kind of device.

Shapes: N tokens, V ids.
"""

from functools import cache

import torch

CPU_ELEMENTS = 2**22  # few enough for the CPU cache, and enough for efficient matrix products
MEMORY_SHARE = 1 / 8  # of a device's memory, for one chunk
BYTES_PER_ELEMENT = 24  # the logits in half precision, and the five float32 tensors of the plain loss
UNKNOWN_MEMORY = 8e9  # bytes, assumed for devices that PyTorch cannot ask


def chunk_elements(device: torch.device) -> int:
    """Return the largest number of logits in a chunk on a device.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones.chunks import chunk_elements
        >>> chunk_elements(torch.device("cpu"))
        4194304
    """
    return CPU_ELEMENTS if device.type == "cpu" else elements_in_memory(_memory(device))


@cache
def _memory(device: torch.device) -> float:
    if device.type == "cuda" and torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(device).total_memory)
    return UNKNOWN_MEMORY


def elements_in_memory(memory: float) -> int:
    """Return the largest number of logits in a chunk on an accelerator: a power of two, so that chunks have few shapes.

    A chunk of a training step takes at most 1 / 8 of the memory. With fused kernels it takes a twelfth of that, and a
    measurement in float64 takes twice as much.

    Args:
        memory: memory of the device in bytes.

    Example:
        >>> from uddm_lightning.backbones.chunks import chunk_slices, elements_in_memory
        >>> len(chunk_slices(65_536, 30_522, elements_in_memory(80e9)))
        8
        >>> len(chunk_slices(8_192, 30_522, elements_in_memory(8e9)))
        8
    """
    return 1 << (max(1, int(memory * MEMORY_SHARE / BYTES_PER_ELEMENT)).bit_length() - 1)


def chunk_slices(tokens: int, vocab_size: int, elements: int) -> list[slice]:
    """Return slices of N tokens with at most `elements` logits each, or of one token if V is larger.

    All slices have the same length, and the last may be shorter.

    Example:
        >>> from uddm_lightning.backbones.chunks import chunk_slices
        >>> chunk_slices(5, vocab_size=2**21, elements=2**22)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    if tokens == 0:
        return []
    count = -(-tokens // max(1, elements // vocab_size))
    size = -(-tokens // count)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]
