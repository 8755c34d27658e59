"""Projection to the vocabulary, loss and gradient in one pass, a few tokens at a time.

The logits of a batch are its largest tensor by far: for 30,522 ids, hundreds of times the features that they are made
from. Here no more than a chunk of them ever exists: each chunk's gradient is taken as soon as its loss is known.

Shapes: N tokens, C tokens in a chunk, V ids, D features.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone

# Elements of a chunk of logits: few enough for a cache to hold, and enough to keep matrix products efficient.
CHUNK_ELEMENTS = 2**22

ChunkLoss = Callable[[Tensor, slice], Tensor]  # logits (C, V) and their place among the N tokens to losses (C,)


class Loss(NamedTuple):
    """A loss and what it consists of.

    Attributes:
        total: the weighted sum, a scalar that can be differentiated.
        tokens_N: the losses themselves, detached.
    """

    total: Tensor
    tokens_N: Tensor


def head_loss(backbone: Backbone, hidden_ND: Tensor, weight_N: Tensor, loss: ChunkLoss) -> Loss:
    """Weighted sum of the losses of all tokens, with exact gradients for the features and for the head.

    Args:
        backbone: its head makes the logits.
        hidden_ND: features.
        weight_N: weight of each token in the sum.
        loss: losses (C,) of a chunk of logits; takes the chunk's place, too.
    """
    places = chunks(len(hidden_ND), backbone.vocab_size)
    if len(places) == 1 or not torch.is_grad_enabled():
        # a single chunk is not cut out: that would cost the gradient a copy
        chunks_CD = [hidden_ND] if len(places) == 1 else [hidden_ND[place] for place in places]
        losses = [loss(backbone.head(hidden_CD), place) for hidden_CD, place in zip(chunks_CD, places, strict=True)]
        tokens_N = losses[0] if len(losses) == 1 else torch.cat(losses)
        return Loss((tokens_N * weight_N).sum(), tokens_N.detach())
    parameters = head_parameters(backbone, hidden_ND)
    return Loss(*_HeadLoss.apply(hidden_ND, weight_N, backbone, loss, *parameters))  # type: ignore[no-untyped-call]  # as torch has it


def chunks(tokens: int, vocab_size: int) -> list[slice]:
    """Where N tokens are cut, so that the logits of one piece after another are made."""
    size = max(1, CHUNK_ELEMENTS // vocab_size)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def head_parameters(backbone: Backbone, hidden_ND: Tensor) -> list[Tensor]:
    """The parameters that the head depends on: those that one token's logits have a gradient for."""
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        logits_1V = backbone.head(hidden_ND[:1].detach())
        if not logits_1V.requires_grad:
            return []
        gradients = torch.autograd.grad(logits_1V.sum(), parameters, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


class _HeadLoss(torch.autograd.Function):
    """Takes all gradients in the forward pass, where the logits are at hand, and only scales them in the backward."""

    @staticmethod
    @override
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_N: Tensor, backbone: Backbone, loss: ChunkLoss, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        total, tokens = hidden_ND.new_zeros((), dtype=weight_N.dtype), []
        gradient_ND = torch.empty_like(hidden_ND)
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        for place in chunks(len(hidden_ND), backbone.vocab_size):
            with torch.enable_grad():
                hidden_CD = hidden_ND[place].detach().requires_grad_()
                losses_C = loss(backbone.head(hidden_CD), place)
                part = (losses_C * weight_N[place]).sum()
                found = torch.autograd.grad(part, [hidden_CD, *parameters])
            gradient_ND[place] = found[0]
            for gradient, part_of_it in zip(gradients, found[1:], strict=True):
                gradient += part_of_it
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
