"""Chunked output head: logits, loss and gradient of a few tokens at a time.

The logits of a batch are its largest tensor: with 30,522 ids they are hundreds of times larger than the features. Here
only one chunk of logits exists at a time, because its gradient is computed together with its loss.

Shapes: N tokens, C tokens in a chunk, V ids, D features.
"""

import math
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunks import chunk_elements, chunk_slices
from uddm_lightning.core.gradients import LossAndGradient

# Sum of the weights of a chunk in float16. The gradient of a weight is a sum over the tokens of the chunk, and the
# largest number of float16 is 65,504.
FLOAT16_WEIGHTS = 2.0**10

_names: WeakKeyDictionary[Backbone, list[str]] = WeakKeyDictionary()  # names of the parameters of the heads


class Loss(NamedTuple):
    """Loss of a batch and of its tokens.

    Attributes:
        total: weighted sum, a differentiable scalar.
        tokens_N: losses of the tokens, detached.
    """

    total: Tensor
    tokens_N: Tensor


class ChunkLoss(Protocol):
    """Loss of the tokens of a chunk."""

    def __call__(self, logits_CV: Tensor, chunk: slice, weight: float | None) -> LossAndGradient:
        """Return the losses of a chunk and the gradient of `weight` times their sum.

        Args:
            logits_CV: logits, detached; the function may overwrite them.
            chunk: slice of the N tokens.
            weight: weight of each token; None for no gradient.
        """


def head_loss(backbone: Backbone, hidden_ND: Tensor, weight: float, loss: ChunkLoss) -> Loss:
    """Return the weighted sum of the losses of all tokens, with exact gradients of the features and the head.

    In float16, gradients of the logits have a scale of their own, because 1 / N is below its range. The gradients of
    the parameters of the head are summed in float32 and only then scaled back.

    Args:
        backbone: backbone whose head computes the logits.
        hidden_ND: features.
        weight: weight of each token in the sum, above 0.
        loss: losses of a chunk with their gradient.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.backbones.chunked_head import head_loss
        >>> from uddm_lightning.core.gradients import loss_and_gradient_by_autograd
        >>> backbone = DiT(27, hidden_size=16, n_blocks=1, n_heads=2)
        >>> hidden_ND, target_N = torch.ones(4, 16, requires_grad=True), torch.arange(4)
        >>> def loss(logits_CV, chunk, weight):
        ...     cross_entropy = torch.nn.CrossEntropyLoss(reduction="none")
        ...     weight_C = None if weight is None else torch.full((len(logits_CV),), weight)
        ...     return loss_and_gradient_by_autograd(lambda z: cross_entropy(z, target_N[chunk]), logits_CV, weight_C)
        >>> head_loss(backbone, hidden_ND, 0.25, loss).tokens_N
        tensor([3.2958, 3.2958, 3.2958, 3.2958])
    """
    if torch.is_grad_enabled():
        parameters = head_parameters(backbone, hidden_ND)
        return Loss(*_HeadLoss.apply(hidden_ND, weight, backbone, loss, *parameters))  # type: ignore[no-untyped-call]  # untyped in torch
    slices = chunk_slices(len(hidden_ND), backbone.vocab_size, chunk_elements(hidden_ND.device))
    losses = [loss(backbone.head(hidden_ND[chunk]), chunk, None).loss_N for chunk in slices]
    tokens_N = torch.cat(losses)
    return Loss(tokens_N.sum() * weight, tokens_N)


def head_parameters(backbone: Backbone, hidden_ND: Tensor) -> list[nn.Parameter]:
    """Return the parameters of the head that are trained: those with a gradient of the logits of one token.

    Their names are found once for each backbone, because that takes a forward and a backward pass of the head.
    """
    if backbone not in _names:
        _names[backbone] = _find_names(backbone, hidden_ND)
    parameters = [backbone.get_parameter(name) for name in _names[backbone]]
    return [parameter for parameter in parameters if parameter.requires_grad]


def _find_names(backbone: Backbone, hidden_ND: Tensor) -> list[str]:
    """Return the names of the parameters of the head, whether or not they are trained."""
    named = {name: parameter for name, parameter in backbone.named_parameters() if parameter.is_floating_point()}
    trained = [parameter.requires_grad for parameter in named.values()]
    try:
        for parameter in named.values():
            parameter.requires_grad_()
        with torch.enable_grad():
            logits_1V = backbone.head(hidden_ND[:1].detach())
            if not logits_1V.requires_grad:
                return []
            gradients = torch.autograd.grad(logits_1V.sum(), list(named.values()), allow_unused=True)
    finally:
        for parameter, requires_grad in zip(named.values(), trained, strict=True):
            parameter.requires_grad_(requires_grad)
    return [name for name, gradient in zip(named, gradients, strict=True) if gradient is not None]


def _to_overwrite(logits_CV: Tensor) -> Tensor:
    """Return detached logits that the loss may overwrite: not those that the backward pass of the head reads."""
    product = logits_CV.grad_fn is not None and logits_CV.grad_fn.name() in ("AddmmBackward0", "MmBackward0")
    return logits_CV.detach() if product else logits_CV.detach().clone()


def _float16_scale(weight: float, tokens: int) -> float:
    """Return the power of two by which the gradients of `tokens` tokens are multiplied in float16."""
    return 2.0 ** math.floor(math.log2(min(1.0, FLOAT16_WEIGHTS / tokens) / weight))


class _HeadLoss(torch.autograd.Function):
    """Autograd function that computes all gradients in the forward pass and scales them in the backward pass."""

    @staticmethod
    @override
    def forward(
        ctx: Any, hidden_ND: Tensor, weight: float, backbone: Backbone, loss: ChunkLoss, *parameters: nn.Parameter
    ) -> tuple[Tensor, Tensor]:
        slices = chunk_slices(len(hidden_ND), backbone.vocab_size, chunk_elements(hidden_ND.device))
        # do not slice a single chunk: its gradient would be copied
        single = len(slices) == 1
        gradient_ND = hidden_ND if single else torch.empty_like(hidden_ND)
        gradients: list[Tensor] = (
            [] if single else [torch.zeros_like(value, dtype=_wide(value)) for value in parameters]
        )
        scale, losses = 1.0, list[Tensor]()
        for chunk in slices:
            with torch.enable_grad():
                hidden_CD = (hidden_ND if single else hidden_ND[chunk]).detach().requires_grad_()
                logits_CV = backbone.head(hidden_CD)
            if logits_CV.dtype == torch.float16 and not losses:
                scale = _float16_scale(weight, slices[0].stop)
            loss_C, gradient_CV = loss(_to_overwrite(logits_CV), chunk, weight * scale)
            found = torch.autograd.grad(logits_CV, [hidden_CD, *parameters], gradient_CV)
            losses.append(loss_C)
            if single:
                gradient_ND, *gradients = found
                continue
            gradient_ND[chunk] = found[0]
            for gradient, chunk_gradient in zip(gradients, found[1:], strict=True):
                gradient += chunk_gradient
        ctx.save_for_backward(gradient_ND, *gradients)
        ctx.scale, ctx.dtypes = scale, [parameter.dtype for parameter in parameters]
        tokens_N = losses[0] if single else torch.cat(losses)
        ctx.mark_non_differentiable(tokens_N)
        return tokens_N.sum() * weight, tokens_N

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # in float32: the loss scale of float16 is above its range
        gradient_ND, *gradients = ctx.saved_tensors
        factor = gradient / ctx.scale
        hidden = (gradient_ND.to(_wide(gradient_ND)) * factor).to(gradient_ND.dtype)
        head = [(part.to(_wide(part)) * factor).to(dtype) for part, dtype in zip(gradients, ctx.dtypes, strict=True)]
        return hidden, None, None, None, *head


def _wide(values: Tensor) -> torch.dtype:
    """Return the dtype of sums of the values, at least float32."""
    return torch.promote_types(values.dtype, torch.float32)
