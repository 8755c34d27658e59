"""Denoising cross-entropy."""

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives.base import Objective
from uddm_lightning.processes import Process
from uddm_lightning.processes.cross_entropy import cross_entropy_and_gradient


class DenoisingCrossEntropy(Objective):
    """Cross-entropy -ln p(x_0^l | x_t) at every position. It is minimal at the posterior, which conditions on x_t^l.

    The process converts the posterior to a leave-one-out prediction for likelihood, sampling and entropy. The
    conversion is ill-conditioned at small t (below about 0.1), because x_t^l then determines x_0^l almost surely.

    A network that does not see x_t^l, such as `HollowTransformer`, learns the leave-one-out prediction itself.

    Args:
        t_min: smallest time, in (0, t_max).
        t_max: largest time, in (t_min, 1].

    Example:
        >>> import torch
        >>> from uddm_lightning.core.batch import NoisyTokens
        >>> from uddm_lightning.objectives import DenoisingCrossEntropy
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process, objective = UniformProcess(3, LogLinearSchedule()), DenoisingCrossEntropy()
        >>> level = process.level(torch.tensor([0.5, 0.5]))
        >>> tokens = NoisyTokens(torch.tensor([0, 1]), torch.tensor([0, 2]), *level)
        >>> objective.token_loss(process, torch.zeros(2, 3), tokens)
        tensor([1.0986, 1.0986])
    """

    parameterization = Parameterization.POSTERIOR

    @override
    def token_loss(self, process: Process, logits_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        return F.cross_entropy(logits_NV, tokens.x0_N, reduction="none")

    @override
    def loss_and_gradient(
        self, process: Process, logits_NV: Tensor, tokens: NoisyTokens, weight_N: Tensor | None
    ) -> LossAndGradient:
        return cross_entropy_and_gradient(logits_NV, tokens.x0_N, weight_N)
