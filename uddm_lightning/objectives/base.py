"""Base class of training objectives.

Shapes: B rows, L positions, N = B * L tokens, C tokens in a chunk, V ids.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.backbones.chunked_head import Loss, head_loss
from uddm_lightning.core.batch import Noised, NoisyTokens, TokenBatch
from uddm_lightning.core.gradients import LossAndGradient, loss_and_gradient_by_autograd
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import Process


class Objective(ABC):
    """Base class of training objectives: a loss per token on a range of times.

    A subclass implements `token_loss` and sets `parameterization`.

    Args:
        t_min: smallest time, in (0, t_max). The gradient of the NELBO is heavy-tailed near t = 0.
        t_max: largest time, in (t_min, 1].

    Attributes:
        parameterization: distribution that the logits parameterize after training.

    Raises:
        ValueError: `t_min` or `t_max` is out of its range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DiT
        >>> from uddm_lightning.core.batch import TokenBatch
        >>> from uddm_lightning.objectives import NELBO
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process, backbone = UniformProcess(27, LogLinearSchedule()), DiT(27, hidden_size=32, n_blocks=1, n_heads=2)
        >>> rows_B, quantiles_B = torch.arange(2), torch.tensor([0.25, 0.75])
        >>> batch = TokenBatch(torch.zeros(2, 8).long(), rows_B, rows_B, rows_B, quantiles_B, None, None, 0, 0)
        >>> objective = NELBO()
        >>> loss = objective(process, backbone, objective.corrupt(process, batch))
        >>> loss.total.shape, loss.tokens_N.shape
        (torch.Size([]), torch.Size([16]))
    """

    parameterization: ClassVar[Parameterization]

    def __init__(self, t_min: float = 1e-3, t_max: float = 1.0) -> None:
        if not 0.0 < t_min < t_max <= 1.0:
            raise ValueError(f"`t_min` and `t_max` must satisfy 0 < t_min < t_max <= 1, got {t_min} and {t_max}.")
        self.t_min = t_min
        self.t_max = t_max

    def times(self, quantiles_B: Tensor) -> Tensor:
        """Return the times of the rows, float64 (B,), from quantiles in [0, 1)."""
        return self.t_min + (self.t_max - self.t_min) * quantiles_B.double()

    def check_compatible(self, process: Process, backbone: Backbone) -> None:
        """Check that the objective supports the process and the backbone. Most objectives support all.

        Raises:
            InputError: the objective does not support one of them.
        """
        return

    def corrupt(self, process: Process, batch: TokenBatch) -> Noised:
        """Return the noisy rows of a training step, a function of their keys, their quantiles and the step."""
        return process.corrupt(batch.tokens_BL, self.times(batch.quantiles_B), batch.keys_B, batch.valid_BL)

    def __call__(self, process: Process, backbone: Backbone, noised: Noised) -> Loss:
        """Return the mean loss over all N positions, with loss 0 at padding, and the losses of the tokens."""
        shown = noised.xt_BL if noised.soft is None else noised.soft
        hidden_ND = backbone(shown, process.noise_input(noised.alpha_B), noised.valid_BL).flatten(0, 1)
        tokens = noised.tokens
        valid_N = None if noised.valid_BL is None else noised.valid_BL.flatten()

        def loss(logits_CV: Tensor, chunk: slice, weight: float | None) -> LossAndGradient:
            weight_C = None if weight is None else torch.full_like(tokens.alpha_N[chunk], weight)
            if weight_C is not None and valid_N is not None:
                weight_C *= valid_N[chunk]
            found = self.loss_and_gradient(process, logits_CV, tokens.chunk(chunk), weight_C)
            return found if valid_N is None else found._replace(loss_N=found.loss_N.where(valid_N[chunk], 0.0))

        return head_loss(backbone, hidden_ND, 1 / len(hidden_ND), loss)

    @abstractmethod
    def token_loss(self, process: Process, logits_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        """Return the loss per token (N,), in nats.

        Args:
            process: forward process.
            logits_NV: network outputs.
            tokens: clean and noisy tokens with their noise levels.
        """

    def loss_and_gradient(
        self, process: Process, logits_NV: Tensor, tokens: NoisyTokens, weight_N: Tensor | None
    ) -> LossAndGradient:
        """Return `token_loss` and its gradient. A subclass may override it with a gradient in closed form.

        Args:
            process: forward process.
            logits_NV: network outputs in any precision; they may be overwritten.
            tokens: clean and noisy tokens with their noise levels.
            weight_N: weights of the tokens in the gradient; None for no gradient.
        """
        return loss_and_gradient_by_autograd(
            lambda values_NV: self.token_loss(process, values_NV, tokens), logits_NV, weight_N
        )
