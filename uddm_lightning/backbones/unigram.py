"""Unigram oracle: the exact predictions for independent tokens.

Shapes: B rows, L positions, V ids in the vocabulary.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import TextStatistics
from uddm_lightning.backbones.oracle import Oracle


class UnigramBackbone(Oracle):
    """Leave-one-out prediction for independent tokens: the token frequencies of the training pool.

    Its recovery is the chance level.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import TextStatistics, UnigramBackbone
        >>> backbone = UnigramBackbone(2)
        >>> backbone.prepare(TextStatistics(lambda: torch.zeros(1, 2).long(), torch.tensor([0.75, 0.25])))
        >>> backbone(torch.tensor([[0, 1]]), torch.tensor([0.5])).exp()
        tensor([[[0.7500, 0.2500],
                 [0.7500, 0.2500]]], dtype=torch.float64)
    """

    logp_V: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.register_buffer("logp_V", torch.zeros(vocab_size, dtype=torch.float64), persistent=False)

    @override
    def prepare(self, statistics: TextStatistics) -> None:
        super().prepare(statistics)
        self.logp_V = statistics.unigram_V.log().to(self.logp_V.device)

    @override
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, noise_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        return self.logp_V.double().expand(*tokens_BL.shape, -1)
