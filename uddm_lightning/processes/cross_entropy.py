"""Cross-entropy of tokens with its gradient.

`torch.nn.functional.linear_cross_entropy` of PyTorch 2.13 also bounds the memory of the logits, but adds no offset to a
logit, is missing in earlier versions, and takes longer on a CPU (`tests/benchmarks/README.md`).

Shapes: N tokens, V ids.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from uddm_lightning.core.gradients import LossAndGradient, loss_and_gradient_by_autograd
from uddm_lightning.processes import fused


def cross_entropy_and_gradient(
    logits_NV: Tensor,
    target_N: Tensor,
    weight_N: Tensor | None,
    offset_N: Tensor | None = None,
    at_N: Tensor | None = None,
) -> LossAndGradient:
    """Return the cross-entropy of tokens, after an offset to one logit of each, with its gradient.

    Args:
        logits_NV: logits in any precision; they may be overwritten.
        target_N: int64 targets.
        weight_N: weights of the tokens in the gradient; None for no gradient.
        offset_N: numbers that are added to one logit of each token; None for no offset.
        at_N: int64 ids of these logits; None without offset.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.cross_entropy import cross_entropy_and_gradient
        >>> cross_entropy_and_gradient(torch.zeros(1, 2), torch.tensor([1]), torch.ones(1))
        LossAndGradient(loss_N=tensor([0.6931]), gradient_NV=tensor([[ 0.5000, -0.5000]]))
    """
    if fused.is_fused(logits_NV) and logits_NV.dtype != torch.float64:
        logits_NV = fused.contiguous_rows(logits_NV)
        terms = [torch.zeros_like(target_N) if value is None else value for value in (offset_N, weight_N)]
        terms_N2 = torch.stack([value.float() for value in terms], 1)
        at_N = target_N if at_N is None else at_N
        loss_N = fused.cross_entropy(logits_NV, target_N, at_N, terms_N2, weight_N is not None)
        return LossAndGradient(loss_N, None if weight_N is None else logits_NV)

    def loss(values_NV: Tensor) -> Tensor:
        if offset_N is not None and at_N is not None:
            values_NV = values_NV.scatter_add(1, at_N[:, None], offset_N.to(values_NV.dtype)[:, None])
        return F.cross_entropy(values_NV, target_N, reduction="none")

    return loss_and_gradient_by_autograd(loss, logits_NV, weight_N)
