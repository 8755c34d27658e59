"""The perfect memorizer: Bayes-optimal predictions for text that is one of the training rows.

Shapes: B rows, L positions, V ids in the vocabulary; R training rows, C of them at a time.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import TextStatistics
from uddm_lightning.backbones.oracle import Oracle

ELEMENTS = 2**22  # of (B, C, L), compared at once
CERTAIN = 1e6  # ln of what a token weighs that cannot be noise: more than all others together


class EmpiricalBayesBackbone(Oracle):
    """The posterior over the training rows given the noisy row without one position, whatever the training size.

    If tokens that are certain fit no training row, those count that agree with most of them.
    Padding in a training row counts as the tokens that fill it: rows of one length are exact.
    """

    exact_splits = ("train",)
    rows_RL: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.register_buffer("rows_RL", torch.zeros(1, 0, dtype=torch.int64), persistent=False)

    @override
    def prepare(self, known: TextStatistics) -> None:
        super().prepare(known)
        self.rows_RL = known.rows().to(self.rows_RL.device)

    @override
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, changed_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        # q(x_t | row) is proportional to c^(number of positions that agree), c = (V alpha + 1 - alpha) / (1 - alpha)
        log_c_B = torch.log((self.vocab_size * alpha_B + changed_B) / changed_B.clamp(min=1e-300))
        if self.mask is not None:
            log_c_B = torch.full_like(log_c_B, CERTAIN)
        shown_BL = tokens_BL.where(self.telling(tokens_BL, valid_BL), -1)  # what tells nothing agrees with nothing
        size = max(1, ELEMENTS // shown_BL.numel())
        chunks = torch.split(self.rows_RL, size)
        agree_BR = torch.cat([(shown_BL[:, None] == rows_CL).sum(2, dtype=torch.int32) for rows_CL in chunks], 1)
        weight_BR = torch.softmax(log_c_B[:, None] * agree_BR, 1)

        # p(x_0^l = v | x_t) sums the weights of the rows with v at l
        B, L = tokens_BL.shape
        places_L = self.vocab_size * torch.arange(L, device=tokens_BL.device)
        posterior_BX = weight_BR.new_zeros(B, L * self.vocab_size)
        for rows_CL, weight_BC in zip(chunks, torch.split(weight_BR, size, 1), strict=True):
            ids_X = (rows_CL + places_L).flatten()
            posterior_BX.index_add_(1, ids_X, weight_BC.repeat_interleave(L, 1))
        logp_BLV = posterior_BX.view(B, L, self.vocab_size).log()

        # all rows with v = x_t^l, and no others, owe one factor c to position l itself
        own_BL = log_c_B[:, None].where(shown_BL >= 0, 0.0)
        return logp_BLV.scatter_add(2, tokens_BL[..., None], -own_BL[..., None])
