"""The moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone


class MovingAverage(nn.Module):
    """Exponential moving average of a backbone's weights, with warm-up.

    Args:
        backbone: the network to follow; copied.
        decay: upper limit of the decay, in [0, 1).
    """

    def __init__(self, backbone: Backbone, decay: float) -> None:
        super().__init__()
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"`ema_decay` must be in [0, 1), got {decay}.")
        self.decay = decay
        self.backbone = copy.deepcopy(backbone).requires_grad_(False).eval()
        self._pairs: tuple[Backbone, list[Tensor], list[Tensor]] | None = None

    @override
    def train(self, mode: bool = True) -> "MovingAverage":
        return super().train(False)  # the average never trains: its dropout stays off

    @torch.no_grad()
    def update(self, backbone: Backbone, finished: int) -> None:
        """Moves the average after optimizer step number `finished` = 1, 2, ...

        The decay is min(decay, (1 + n) / (10 + n)), so that early averages forget the initial weights.
        """
        decay = min(self.decay, (1 + finished) / (10 + finished))
        # collecting the parameters of a small network takes longer than averaging them
        if self._pairs is None or self._pairs[0] is not backbone:
            self._pairs = (backbone, list(self.backbone.parameters()), list(backbone.parameters()))
        torch._foreach_lerp_(self._pairs[1], self._pairs[2], 1.0 - decay)
