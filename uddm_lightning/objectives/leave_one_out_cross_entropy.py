"""Leave-one-out cross-entropy."""

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives.base import Objective
from uddm_lightning.processes import Process
from uddm_lightning.processes.cross_entropy import cross_entropy_and_gradient


class LeaveOneOutCrossEntropy(Objective):
    """Cross-entropy -ln p(x_0^l | x_t), where the network parameterizes the leave-one-out prediction.

    The process converts the network's output to the posterior, which conditions on x_t^l. Under the uniform process
    this adds ln(1 + V alpha / (1 - alpha)) to the logit of x_t^l. The loss is minimal where the output is the exact
    leave-one-out prediction. Its weights do not grow as t goes to 0, unlike those of the NELBO, which grow as 1 / t.

    Under the absorbing process it is the cross-entropy at masked positions, and 0 elsewhere.

    Source: arXiv 2605.22765.

    Args:
        t_min: smallest time, in (0, t_max).
        t_max: largest time, in (t_min, 1].

    Example:
        >>> import torch
        >>> from uddm_lightning.core.batch import NoisyTokens
        >>> from uddm_lightning.objectives import LeaveOneOutCrossEntropy
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process, objective = UniformProcess(3, LogLinearSchedule()), LeaveOneOutCrossEntropy()
        >>> level = process.level(torch.tensor([0.5, 0.5]))
        >>> tokens = NoisyTokens(torch.tensor([0, 1]), torch.tensor([0, 2]), *level)
        >>> objective.token_loss(process, torch.zeros(2, 3), tokens)
        tensor([0.4050, 1.7928])
    """

    parameterization = Parameterization.LEAVE_ONE_OUT

    @override
    def token_loss(self, process: Process, logits_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        return F.cross_entropy(
            process.posterior_logits(logits_NV, tokens.xt_N, tokens.alpha_N), tokens.x0_N, reduction="none"
        )

    @override
    def loss_and_gradient(
        self, process: Process, logits_NV: Tensor, tokens: NoisyTokens, weight_N: Tensor | None
    ) -> LossAndGradient:
        offset_N = process.posterior_offset(tokens.alpha_N)
        if offset_N is None:
            return super().loss_and_gradient(process, logits_NV, tokens, weight_N)
        return cross_entropy_and_gradient(logits_NV, tokens.x0_N, weight_N, offset_N, tokens.xt_N)
