"""The negative evidence lower bound, the objective of the paper."""

from torch import Tensor
from typing_extensions import override

from uddm_lightning.objectives.base import Objective
from uddm_lightning.prediction import Prediction
from uddm_lightning.processes.base import Process


class NELBO(Objective):
    """Exact continuous-time NELBO; it is minimal at the leave-one-out prediction."""

    predicts = Prediction.LEAVE_ONE_OUT

    @override
    def token_loss(
        self, process: Process, logits_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor
    ) -> Tensor:
        logp_NV = process.leave_one_out(logits_NV, xt_N, alpha_N, self.predicts)
        return process.nelbo(logp_NV, x0_N, xt_N, alpha_N, slope_N)
