"""Chunked output head: logits, loss and gradient of a few tokens at a time.

The logits of a batch are its largest tensor: with 30,522 ids they are hundreds of times larger than the features. Here
only one chunk of logits exists at a time, because its gradient is computed together with its loss.

Shapes: N tokens, C tokens in a chunk, V ids, D features.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone

# Elements of a chunk of logits: few enough for the CPU cache, and enough for efficient matrix products.
CHUNK_ELEMENTS = 2**22

ChunkLoss = Callable[[Tensor, slice], Tensor]  # maps logits (C, V) and their slice of the N tokens to losses (C,)


class Loss(NamedTuple):
    """Loss of a batch and of its tokens.

    Attributes:
        total: weighted sum, a differentiable scalar.
        tokens_N: losses of the tokens, detached.
    """

    total: Tensor
    tokens_N: Tensor


def head_loss(backbone: Backbone, hidden_ND: Tensor, weight_N: Tensor, loss: ChunkLoss) -> Loss:
    """Return the weighted sum of the losses of all tokens, with exact gradients of the features and the head.

    Args:
        backbone: backbone whose head computes the logits.
        hidden_ND: features.
        weight_N: weight of each token in the sum.
        loss: function that maps logits (C, V) and their slice of the N tokens to losses (C,).

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.backbones.chunked_head import head_loss
        >>> backbone = DiT(27, hidden_size=16, n_blocks=1, n_heads=2)
        >>> hidden_ND, target_N = torch.ones(4, 16, requires_grad=True), torch.arange(4)
        >>> loss = lambda logits_CV, chunk: torch.nn.functional.cross_entropy(
        ...     logits_CV, target_N[chunk], reduction="none"
        ... )
        >>> head_loss(backbone, hidden_ND, torch.full((4,), 0.25), loss).tokens_N
        tensor([3.2958, 3.2958, 3.2958, 3.2958])
    """
    slices = chunk_slices(len(hidden_ND), backbone.vocab_size)
    if len(slices) == 1 or not torch.is_grad_enabled():
        # do not slice a single chunk: its gradient would be copied
        chunks_CD = [hidden_ND] if len(slices) == 1 else [hidden_ND[chunk] for chunk in slices]
        losses = [loss(backbone.head(hidden_CD), chunk) for hidden_CD, chunk in zip(chunks_CD, slices, strict=True)]
        tokens_N = losses[0] if len(losses) == 1 else torch.cat(losses)
        return Loss((tokens_N * weight_N).sum(), tokens_N.detach())
    parameters = head_parameters(backbone, hidden_ND)
    return Loss(*_HeadLoss.apply(hidden_ND, weight_N, backbone, loss, *parameters))  # type: ignore[no-untyped-call]  # untyped in torch


def chunk_slices(tokens: int, vocab_size: int) -> list[slice]:
    """Return the slices of N tokens whose logits have at most `CHUNK_ELEMENTS` elements each.

    Example:
        >>> from uddm_lightning.backbones.chunked_head import chunk_slices
        >>> chunk_slices(5, vocab_size=2**21)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, CHUNK_ELEMENTS // vocab_size)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def head_parameters(backbone: Backbone, hidden_ND: Tensor) -> list[Tensor]:
    """Return the parameters of the head: those with a gradient of the logits of one token."""
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        logits_1V = backbone.head(hidden_ND[:1].detach())
        if not logits_1V.requires_grad:
            return []
        gradients = torch.autograd.grad(logits_1V.sum(), parameters, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


class _HeadLoss(torch.autograd.Function):
    """Autograd function that computes all gradients in the forward pass and scales them in the backward pass."""

    @staticmethod
    @override
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_N: Tensor, backbone: Backbone, loss: ChunkLoss, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        total, tokens = hidden_ND.new_zeros((), dtype=weight_N.dtype), []
        gradient_ND = torch.empty_like(hidden_ND)
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        for chunk in chunk_slices(len(hidden_ND), backbone.vocab_size):
            with torch.enable_grad():
                hidden_CD = hidden_ND[chunk].detach().requires_grad_()
                losses_C = loss(backbone.head(hidden_CD), chunk)
                part = (losses_C * weight_N[chunk]).sum()
                found = torch.autograd.grad(part, [hidden_CD, *parameters])
            gradient_ND[chunk] = found[0]
            for gradient, chunk_gradient in zip(gradients, found[1:], strict=True):
                gradient += chunk_gradient
            total += part.detach()
            tokens.append(losses_C.detach())
        ctx.save_for_backward(gradient_ND, *gradients)
        tokens_N = torch.cat(tokens)
        ctx.mark_non_differentiable(tokens_N)
        return total, tokens_N

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient_ND, *gradients = ctx.saved_tensors
        scaled = [part * gradient.to(part.dtype) for part in (gradient_ND, *gradients)]
        return scaled[0], None, None, None, *scaled[1:]
