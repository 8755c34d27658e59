"""Operations of PyTorch around the Triton kernels, and the choice between them and the plain formulas.

Shapes: N tokens, V ids.
"""

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

FUSED_DEVICES = ("cuda",)


def is_fused(logits_NV: Tensor) -> bool:
    """Return whether kernels replace the plain formulas for these logits: on CUDA where Triton is installed.

    With TRITON_INTERPRET=1 kernels also run on the CPU, element by element, so that they can be tested without a GPU.
    """
    return (logits_NV.device.type in FUSED_DEVICES or _is_interpreted()) and _has_triton()


def _is_interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def contiguous_rows(logits_NV: Tensor) -> Tensor:
    """Return the logits, or a copy if the elements of a row are not adjacent."""
    return logits_NV if logits_NV.stride(1) == 1 else logits_NV.contiguous()


@torch.library.custom_op("uddm::nelbo", mutates_args={"logits_NV"})
def nelbo(logits_NV: Tensor, x0_N: Tensor, xt_N: Tensor, terms_N6: Tensor, needs_gradient: bool) -> Tensor:
    """Return the NELBO per token and write its gradient over the logits; see `fused_triton.nelbo`."""
    from uddm_lightning.processes import fused_triton  # needs Triton

    return fused_triton.nelbo(logits_NV, x0_N, xt_N, terms_N6, needs_gradient)


@torch.library.custom_op("uddm::cross_entropy", mutates_args={"logits_NV"})
def cross_entropy(logits_NV: Tensor, target_N: Tensor, at_N: Tensor, terms_N2: Tensor, needs_gradient: bool) -> Tensor:
    """Return the cross-entropy per token and write its gradient over the logits; see `fused_triton.cross_entropy`."""
    from uddm_lightning.processes import fused_triton  # needs Triton

    return fused_triton.cross_entropy(logits_NV, target_N, at_N, terms_N2, needs_gradient)


@torch.library.custom_op("uddm::statistics", mutates_args=())
def statistics(logits_NV: Tensor, at_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return statistics of each row; see `fused_triton.statistics`."""
    from uddm_lightning.processes import fused_triton  # needs Triton

    return fused_triton.statistics(logits_NV, at_N)


@nelbo.register_fake
@cross_entropy.register_fake
def _(logits_NV: Tensor, first_N: Tensor, second_N: Tensor, terms: Tensor, needs_gradient: bool) -> Tensor:
    return logits_NV.new_empty(len(logits_NV), dtype=torch.float32)


@statistics.register_fake
def _(logits_NV: Tensor, at_N: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(logits_NV.dtype, torch.float32)
    N = len(logits_NV)
    return logits_NV.new_empty(5, N, dtype=dtype), logits_NV.new_empty(N, dtype=torch.int64)
