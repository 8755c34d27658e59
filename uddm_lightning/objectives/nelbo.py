"""Negative evidence lower bound (NELBO), the objective of the paper."""

from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives.base import Objective
from uddm_lightning.processes import Process


class NELBO(Objective):
    """Continuous-time NELBO. It is minimal at the leave-one-out prediction.

    Source: the loss of the process, for example Sahoo et al. 2025, arXiv 2506.10892 (uniform) and Sahoo et al. 2024,
    arXiv 2406.07524 (absorbing).

    Args:
        t_min: smallest time, in (0, t_max).
        t_max: largest time, in (t_min, 1].

    Example:
        >>> import torch
        >>> from uddm_lightning.core.batch import NoisyTokens
        >>> from uddm_lightning.objectives import NELBO
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process, objective = UniformProcess(3, LogLinearSchedule()), NELBO()
        >>> level = process.level(torch.tensor([0.5, 0.5]))
        >>> tokens = NoisyTokens(torch.tensor([0, 1]), torch.tensor([0, 2]), *level)
        >>> objective.token_loss(process, torch.zeros(2, 3), tokens)
        tensor([0.5375, 1.6989])
    """

    parameterization = Parameterization.LEAVE_ONE_OUT

    @override
    def token_loss(self, process: Process, logits_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        return process.nelbo_from_logits(logits_NV, tokens, self.parameterization)

    @override
    def loss_and_gradient(
        self, process: Process, logits_NV: Tensor, tokens: NoisyTokens, weight_N: Tensor | None
    ) -> LossAndGradient:
        return process.nelbo_and_gradient(logits_NV, tokens, self.parameterization, weight_N)
