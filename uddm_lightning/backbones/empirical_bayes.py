"""Empirical Bayes oracle: the exact predictions for text that is one of the training rows.

Shapes: B rows, L positions, V ids in noisy text, R training rows, C training rows in a chunk.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import TextStatistics
from uddm_lightning.backbones.oracle import Oracle

CHUNK_ELEMENTS = 2**22  # elements of (B, C, L) that are compared at once
CERTAIN_LOG_RATIO = 1e6  # log-likelihood ratio of an unmasked token, which is clean: larger than any sum of others


class EmpiricalBayesBackbone(Oracle):
    """Exact leave-one-out prediction for the empirical distribution of the training rows: the perfect memorizer.

    Each training row has a posterior weight given the noisy row without position l. The prediction sums the weights of
    the rows with id v at l. Under the absorbing process, if no training row matches all unmasked tokens, the rows with
    the most matches get the weight. Padding in a training row is treated as tokens, so predictions are exact for rows
    of equal length.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import EmpiricalBayesBackbone, TextStatistics
        >>> backbone = EmpiricalBayesBackbone(2)
        >>> backbone.prepare(TextStatistics(lambda: torch.tensor([[0, 0], [1, 1]]), torch.tensor([0.5, 0.5])))
        >>> backbone(torch.tensor([[0, 1]]), torch.tensor([0.5])).softmax(-1)
        tensor([[[0.1967, 0.8033],
                 [0.8033, 0.1967]]], dtype=torch.float64)
    """

    exact_splits = ("train",)
    rows_RL: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.register_buffer("rows_RL", torch.zeros(1, 0, dtype=torch.int64), persistent=False)

    @override
    def prepare(self, statistics: TextStatistics) -> None:
        super().prepare(statistics)
        self.rows_RL = statistics.rows().to(self.rows_RL.device)

    @override
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, noise_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        # q(x_t | row) is proportional to c^(number of equal positions), c = (V alpha + 1 - alpha) / (1 - alpha)
        log_c_B = torch.log((self.vocab_size * alpha_B + noise_B) / noise_B.clamp(min=1e-300))
        if self.mask_id is not None:
            log_c_B = torch.full_like(log_c_B, CERTAIN_LOG_RATIO)
        seen_BL = tokens_BL.where(self.informative_mask(tokens_BL, valid_BL), -1)  # -1 equals no id
        size = max(1, CHUNK_ELEMENTS // seen_BL.numel())
        chunks = torch.split(self.rows_RL, size)
        equal_BR = torch.cat([(seen_BL[:, None] == rows_CL).sum(2, dtype=torch.int32) for rows_CL in chunks], 1)
        weight_BR = torch.softmax(log_c_B[:, None] * equal_BR, 1)

        # p(x_0^l = v | x_t): sum of the weights of the rows with v at l
        B, L = tokens_BL.shape
        offsets_L = self.vocab_size * torch.arange(L, device=tokens_BL.device)
        posterior_BX = weight_BR.new_zeros(B, L * self.vocab_size)
        for rows_CL, weight_BC in zip(chunks, torch.split(weight_BR, size, 1), strict=True):
            ids_X = (rows_CL + offsets_L).flatten()
            posterior_BX.index_add_(1, ids_X, weight_BC.repeat_interleave(L, 1))
        logp_BLV = posterior_BX.view(B, L, self.vocab_size).log()

        # leave position l out: divide by c at v = x_t^l, the factor that x_t^l itself contributes
        own_BL = log_c_B[:, None].where(seen_BL >= 0, 0.0)
        return logp_BLV.scatter_add(2, tokens_BL[..., None], -own_BL[..., None])
