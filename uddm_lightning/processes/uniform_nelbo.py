"""NELBO of the uniform process from logits, with its gradient in closed form.

Shapes: N tokens, V ids.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient
from uddm_lightning.processes import fused

ClosedForm = Callable[[Tensor, NoisyTokens, bool], tuple[Tensor, Tensor | None]]


def constant_term(V: int, a_N: Tensor, b_N: Tensor, xbar_i_N: Tensor) -> Tensor:
    """Return the term of the NELBO that does not depend on the network, float64 (N,).

    It is sum_j xbar_j / xbar_i ln(xbar_j / xbar_i), in the notation of `UniformProcess.nelbo`.

    Args:
        V: number of ids.
        a_N: V alpha.
        b_N: 1 - alpha.
        xbar_i_N: xbar at i = x_t.
    """
    clean_N = a_N + b_N
    return ((V - 1) * b_N * torch.log(b_N / xbar_i_N) + clean_N * torch.log(clean_N / xbar_i_N)) / xbar_i_N


def _terms(V: int, tokens: NoisyTokens) -> tuple[Tensor, ...]:
    """Return a, b, xbar_i, c and the constant term of each token, in float64."""
    x0_N, xt_N, alpha_N, slope_N = tokens
    a_N, b_N = V * alpha_N, 1.0 - alpha_N
    xbar_N = torch.where(xt_N == x0_N, a_N + b_N, b_N)
    return a_N, b_N, xbar_N, slope_N / a_N, constant_term(V, a_N, b_N, xbar_N)


class UniformNelbo(torch.autograd.Function):
    """Autograd function of the NELBO per token (N,), in the dtype of the logits.

    The first argument is `loss_and_gradient` or its compiled version. The forward pass also computes the gradient.
    """

    @staticmethod
    @override
    def forward(ctx: Any, loss_and_gradient: ClosedForm, logits_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        loss_N, gradient_NV = loss_and_gradient(logits_NV, tokens, ctx.needs_input_grad[1])
        if gradient_NV is not None:
            ctx.save_for_backward(gradient_NV)
        return loss_N

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_NV,) = ctx.saved_tensors
        return None, gradient_NV * gradient_N[:, None], None


def loss_and_gradient(logits_NV: Tensor, tokens: NoisyTokens, needs_gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Return the NELBO per token (N,) and its gradient with respect to the logits (N, V); see `UniformProcess.nelbo`.

    With a = V alpha, b = 1 - alpha, p = softmax(logits), x = a p + b, c = slope / a and i = x_t, the derivative with
    respect to logit j is p_j (g_j - sum_k p_k g_k) with
      g_j = c a b / (xbar_i x_j) + [j = i] c a V / x_i (1 / x_i - 1 / xbar_i) + [j = x_0] c a^2 / (xbar_i x_0).

    Args:
        logits_NV: leave-one-out logits.
        tokens: clean and noisy tokens with their noise levels.
        needs_gradient: whether to compute the gradient; otherwise it is None.
    """
    V, dtype = logits_NV.shape[1], logits_NV.dtype
    a, b, xbar, c, constant = (value.to(dtype) for value in _terms(V, tokens))

    p_NV = torch.softmax(logits_NV, 1)
    x_NV = torch.addcmul(b[:, None], p_NV, a[:, None])
    at_N2 = torch.stack([tokens.xt_N, tokens.x0_N], 1)
    x_i, x_0 = x_NV.gather(1, at_N2).unbind(1)
    logs_N = x_NV.log().sum(1)
    loss_N = c * (V / xbar - V / x_i - (V * x_i.log() - b * logs_N - a * x_0.log()) / xbar - constant)
    if not needs_gradient:
        return loss_N, None

    p_N2 = p_NV.gather(1, at_N2)
    ratio_NV = x_NV.reciprocal_().mul_(p_NV)
    dense_N = c * a * b / xbar
    sparse_N2 = torch.stack([c * a * V / x_i * (1 / x_i - 1 / xbar), c * a * a / (xbar * x_0)], 1) * p_N2
    mean_N = dense_N * ratio_NV.sum(1) + sparse_N2.sum(1)
    gradient_NV = ratio_NV.mul_(dense_N[:, None]).addcmul_(p_NV, -mean_N[:, None])
    return loss_N, gradient_NV.scatter_add_(1, at_N2, sparse_N2)


def fused_loss_and_gradient(logits_NV: Tensor, tokens: NoisyTokens, weight_N: Tensor | None) -> LossAndGradient:
    """Return the NELBO in float32 and its weighted gradient from a fused kernel, which overwrites the logits.

    Args:
        logits_NV: leave-one-out logits in float32, bfloat16 or float16.
        tokens: clean and noisy tokens with their noise levels.
        weight_N: weights of the tokens in the gradient; None for no gradient.
    """
    logits_NV = fused.contiguous_rows(logits_NV)
    terms = [*_terms(logits_NV.shape[1], tokens), tokens.alpha_N if weight_N is None else weight_N]
    terms_N6 = torch.stack([value.float() for value in terms], 1)
    loss_N = fused.nelbo(logits_NV, tokens.x0_N, tokens.xt_N, terms_N6, weight_N is not None)
    return LossAndGradient(loss_N, None if weight_N is None else logits_NV)
