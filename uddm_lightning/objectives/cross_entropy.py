"""Denoising cross-entropy."""

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.objectives.base import Objective
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.parameterization import Parameterization


class DenoisingCrossEntropy(Objective):
    """-ln p(x_0 | x_t) at every position; it is minimal at the ordinary posterior, which sees the token at l too.

    The process turns that into a leave-one-out prediction before it enters likelihood, chain or entropy. The conversion
    is ill-conditioned where t is small (below about 0.1): nearly all evidence is then the token itself.
    """

    parameterization = Parameterization.POSTERIOR

    @override
    def token_loss(
        self, process: Process, logits_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor
    ) -> Tensor:
        return F.cross_entropy(logits_NV, x0_N, reduction="none")
