"""Losses of tokens together with their gradient with respect to the logits.

Shapes: N tokens, V ids.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class LossAndGradient(NamedTuple):
    """Losses of tokens and the gradient of their weighted sum.

    Attributes:
        loss_N: losses, detached, in at least float32.
        gradient_NV: gradient of sum_n weight_n loss_n, in the dtype of the logits; None if it was not requested.
    """

    loss_N: Tensor
    gradient_NV: Tensor | None


def at_least_float32(values: Tensor) -> Tensor:
    """Return the values in float32 if they are in half precision, which cannot represent small probabilities."""
    return values if values.itemsize >= 4 else values.float()


def loss_and_gradient_by_autograd(
    loss: Callable[[Tensor], Tensor], logits_NV: Tensor, weight_N: Tensor | None
) -> LossAndGradient:
    """Evaluate a differentiable loss and its gradient.

    Args:
        loss: function that maps logits (N, V) to losses (N,).
        logits_NV: logits; they are not modified.
        weight_N: weights of the tokens in the gradient; None for no gradient.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.gradients import loss_and_gradient_by_autograd
        >>> loss_and_gradient_by_autograd(lambda z: z.square().sum(1), torch.ones(1, 2), torch.tensor([0.5]))
        LossAndGradient(loss_N=tensor([2.]), gradient_NV=tensor([[1., 1.]]))
    """
    values_NV = at_least_float32(logits_NV.detach())
    if weight_N is None:
        return LossAndGradient(loss(values_NV).detach(), None)
    with torch.enable_grad():
        values_NV = values_NV.detach().requires_grad_()
        loss_N = loss(values_NV)
        (gradient_NV,) = torch.autograd.grad(loss_N, values_NV, weight_N.to(loss_N.dtype))
    return LossAndGradient(loss_N.detach(), round_gradient(gradient_NV, logits_NV.dtype))


def round_gradient(gradient_NV: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a gradient in the dtype of the logits. Values above the range of float16 are clamped to it."""
    if dtype == torch.float16:
        limit = torch.finfo(dtype).max
        gradient_NV = gradient_NV.clamp(-limit, limit)
    return gradient_NV.to(dtype)
