"""The NELBO, compared with the loss of the process per token."""

import torch

from tests.support.toy_worlds import TableBackbone
from uddm_lightning.core.batch import Noised, NoisyTokens
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import UniformProcess

V, B, L = 5, 6, 7


def test_nelbo_is_the_loss_of_the_process_per_token(process: UniformProcess, noised: Noised) -> None:
    backbone = TableBackbone(V, L)
    ours = NELBO()(process, backbone, noised).tokens_N.view(B, L)
    logp = torch.log_softmax(backbone(noised.xt_BL, process.level(noised.t_B).sigma), -1)
    for row in range(B):
        for place in range(L):
            one = slice(place, place + 1)
            expected = process.nelbo(
                logp[row, one],
                NoisyTokens(
                    noised.x0_BL[row, one],
                    noised.xt_BL[row, one],
                    noised.alpha_B[row : row + 1],
                    noised.slope_B[row : row + 1],
                ),
            )
            torch.testing.assert_close(ours[row, place], expected[0])
