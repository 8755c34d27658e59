"""Exponential moving average of a network's weights."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.core.errors import check_within

HALF = (torch.bfloat16, torch.float16)  # a relative change of 1e-4 is lost in their rounding


class ExponentialMovingAverage(nn.Module):
    """Exponential moving average of a backbone's weights, with warm-up, in at least float32.

    Args:
        backbone: the network to average; it is copied.
        decay: upper limit of the decay, in [0, 1).
    """

    def __init__(self, backbone: Backbone, decay: float) -> None:
        super().__init__()
        check_within("[0, 1)", ema_decay=decay)
        self.decay = decay
        self.backbone = copy.deepcopy(backbone).requires_grad_(False).eval()
        self._pairs: tuple[Backbone, list[Tensor], list[Tensor]] | None = None
        self._apply(lambda value: value.float() if value.dtype in HALF else value)

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ExponentialMovingAverage":
        """Move the average between devices, and keep it in float32 if a half precision is requested.

        PyTorch calls this method for every change of device or dtype: `to`, `half`, or a precision of the trainer.
        """

        def kept(value: Tensor) -> Tensor:
            new = fn(value)
            if new.dtype not in HALF:
                return new
            return value.to(device=new.device, dtype=torch.float32 if value.dtype in HALF else value.dtype)

        super()._apply(kept, recurse)  # type: ignore[no-untyped-call] # PyTorch leaves it untyped
        return self

    @override
    def train(self, mode: bool = True) -> "ExponentialMovingAverage":
        return super().train(False)  # the average never trains: its dropout stays off

    @torch.no_grad()
    def update(self, backbone: Backbone, finished: int) -> None:
        """Update the average after optimizer step n = `finished` = 1, 2, ...

        The decay is min(decay, (1 + n) / (10 + n)), so that early averages forget the initial weights.
        """
        decay = min(self.decay, (1 + finished) / (10 + finished))
        # for a small network, collecting the parameters takes longer than averaging them
        if self._pairs is None or self._pairs[0] is not backbone:
            self._pairs = (backbone, list(self.backbone.parameters()), list(backbone.parameters()))
        _, mine, theirs = self._pairs
        if any(average.dtype != value.dtype for average, value in zip(mine, theirs, strict=True)):
            theirs = [value.to(average.dtype) for average, value in zip(mine, theirs, strict=True)]
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)
