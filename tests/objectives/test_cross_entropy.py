"""The cross-entropy, compared with its definition."""

import torch

from tests.support.toy_worlds import TableBackbone
from uddm_lightning.core.batch import Noised
from uddm_lightning.objectives import DenoisingCrossEntropy
from uddm_lightning.processes import UniformProcess

V, B, L = 5, 6, 7


def test_cross_entropy_is_the_negative_log_probability(process: UniformProcess, noised: Noised) -> None:
    backbone = TableBackbone(V, L)
    ours = DenoisingCrossEntropy()(process, backbone, noised).tokens_N.view(B, L)
    p = torch.softmax(backbone(noised.xt_BL, process.level(noised.t_B).sigma), -1)
    for row in range(B):
        for place in range(L):
            expected = -torch.log(p[row, place, noised.x0_BL[row, place]])
            torch.testing.assert_close(ours[row, place], expected)
