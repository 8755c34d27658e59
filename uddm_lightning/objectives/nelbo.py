"""The negative evidence lower bound, the objective of the paper."""

from torch import Tensor
from typing_extensions import override

from uddm_lightning.objectives.base import Objective
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.parameterization import Parameterization


class NELBO(Objective):
    """Exact continuous-time NELBO; it is minimal at the leave-one-out prediction."""

    parameterization = Parameterization.LEAVE_ONE_OUT

    @override
    def token_loss(
        self, process: Process, logits_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor
    ) -> Tensor:
        return process.nelbo_from_logits(logits_NV, x0_N, xt_N, alpha_N, slope_N, self.parameterization)
