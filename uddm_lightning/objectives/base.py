"""The contract of an objective: how wrong a prediction is, and what it means.

Shapes: B rows, L positions, N = B * L tokens, V ids.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunked_head import Loss, head_loss
from uddm_lightning.core.batch import Noised, TokenBatch
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.parameterization import Parameterization


class Objective(ABC):
    """A loss per token, the range of times it is taken on, and the meaning of what it trains.

    Args:
        t_min: smallest time, in (0, t_max). The gradient of the NELBO is heavy-tailed near 0.
        t_max: largest time, in (t_min, 1].
    """

    parameterization: ClassVar[Parameterization]

    def __init__(self, t_min: float = 1e-3, t_max: float = 1.0) -> None:
        if not 0.0 < t_min < t_max <= 1.0:
            raise ValueError(f"`t_min` and `t_max` must satisfy 0 < t_min < t_max <= 1, got {t_min} and {t_max}.")
        self.t_min = t_min
        self.t_max = t_max

    def times(self, quantiles_B: Tensor) -> Tensor:
        """Maps stratified uniforms in [0, 1) to the times of the rows, float64 (B,)."""
        return self.t_min + (self.t_max - self.t_min) * quantiles_B.double()

    def check(self, process: Process, backbone: Backbone) -> None:
        """Says whether the objective can train this network under this noise; most train any under any.

        Raises:
            InputError: it cannot.
        """
        return

    def corrupt(self, process: Process, batch: TokenBatch) -> Noised:
        """The rows with the noise that they are trained on: a function of their keys and quantiles, and of the step."""
        return process.corrupt(batch.tokens_BL, self.times(batch.quantiles_B), batch.keys_B, batch.valid_BL)

    def __call__(self, process: Process, backbone: Backbone, noised: Noised) -> Loss:
        """Mean loss over all positions, 0 at padding, and the losses that it is made of."""
        length = noised.x0_BL.shape[1]
        tokens = noised.xt_BL if noised.soft is None else noised.soft
        hidden_ND = backbone(tokens, -torch.log(noised.alpha_B), noised.valid_BL).flatten(0, 1)
        x0_N, xt_N = noised.x0_BL.flatten(), noised.xt_BL.flatten()
        alpha_N, slope_N = (level_B.repeat_interleave(length) for level_B in (noised.alpha_B, noised.slope_B))
        valid_N = None if noised.valid_BL is None else noised.valid_BL.flatten()

        def loss(logits_CV: Tensor, place: slice) -> Tensor:
            # the loss is the place where half precision would lose the small probabilities it is about
            logits_CV = logits_CV if logits_CV.itemsize >= 4 else logits_CV.float()
            loss_C = self.token_loss(process, logits_CV, x0_N[place], xt_N[place], alpha_N[place], slope_N[place])
            return loss_C if valid_N is None else loss_C.where(valid_N[place], 0.0)

        weight_N = torch.full_like(alpha_N, 1 / len(x0_N), dtype=torch.promote_types(hidden_ND.dtype, torch.float32))
        return head_loss(backbone, hidden_ND, weight_N, loss)

    @abstractmethod
    def token_loss(
        self, process: Process, logits_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor
    ) -> Tensor:
        """Loss per token (N,), in nats, from raw logits (N, V)."""
