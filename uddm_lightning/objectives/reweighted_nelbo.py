"""The NELBO of the hybrid process with the loss weights of GIDD."""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives.base import Objective
from uddm_lightning.processes import HybridProcess, Process


class ReweightedNELBO(Objective):
    """NELBO of `HybridProcess` with other weights of the tokens: 2 at a mask, 1 at another id, w at x_t = x_0.

    The weights are bounded; those of the NELBO diverge at t = 0 and t = 1. The weight w depends on x_0. The loss is
    therefore minimal neither at the leave-one-out prediction nor at the posterior, but at the leave-one-out prediction
    with the odds of x_0 = x_t multiplied by w q(x_t | x_0 = x_t) / q(x_t | x_0 != x_t), which is about
    sqrt(1 + c_t / t). The process converts it. At a mask the prediction is the posterior, which is leave-one-out.

    Source: von Rütte et al. 2025, arXiv 2503.04482, "dynamic" weights.

    Args:
        t_min: smallest time, in (0, t_max).
        t_max: largest time, in (t_min, 1].

    Example:
        >>> import torch
        >>> from uddm_lightning.core.batch import NoisyTokens
        >>> from uddm_lightning.objectives import ReweightedNELBO
        >>> from uddm_lightning.processes import HybridProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process, objective = HybridProcess(3, LogLinearSchedule()), ReweightedNELBO()
        >>> level = process.level(torch.tensor([0.5, 0.5]))
        >>> tokens = NoisyTokens(torch.tensor([0, 1]), torch.tensor([3, 1]), *level)
        >>> objective.token_loss(process, torch.zeros(2, 4), tokens)
        tensor([0.7107, 0.0837])
    """

    parameterization = Parameterization.REWEIGHTED

    @override
    def check_compatible(self, process: Process, backbone: Backbone) -> None:
        if not isinstance(process, HybridProcess):
            raise InputError(
                f"`model.objective: ReweightedNELBO` needs `model.process: HybridProcess`, got "
                f"{type(process).__name__}. Use `NELBO` for this process."
            )
        if backbone.parameterization is not None:
            raise InputError(
                f"`model.backbone: {type(backbone).__name__}` predicts {backbone.parameterization.value}, and "
                "`ReweightedNELBO` trains another prediction. Use `NELBO` for this network."
            )

    @override
    def token_loss(self, process: Process, logits_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        assert isinstance(process, HybridProcess)
        x0_N, xt_N, alpha_N, _ = tokens
        # GIDD puts the output of the network itself into the divergence; the process converts it for everything else
        logp_NV = process.leave_one_out(logits_NV, xt_N, alpha_N, Parameterization.LEAVE_ONE_OUT)
        own_N = torch.where(xt_N == x0_N, process.own_weight(alpha_N), 1.0)
        weight_N = torch.where(xt_N == process.mask_id, 2.0, own_N)
        return weight_N.to(logp_NV.dtype) * process.divergence(logp_NV, x0_N, xt_N, alpha_N)
