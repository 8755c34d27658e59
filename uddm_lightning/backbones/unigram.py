"""Chance: a model that knows how often each token occurs, and nothing else.

Shapes: B rows, L positions, V ids in the vocabulary.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import TextStatistics
from uddm_lightning.backbones.oracle import Oracle


class UnigramBackbone(Oracle):
    """The same prediction everywhere: the token frequencies of the training pool. Its recovery is the chance level."""

    logp_V: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.register_buffer("logp_V", torch.zeros(vocab_size, dtype=torch.float64), persistent=False)

    @override
    def prepare(self, known: TextStatistics) -> None:
        super().prepare(known)
        self.logp_V = known.unigram_V.log().to(self.logp_V.device)

    @override
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, changed_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        return self.logp_V.double().expand(*tokens_BL.shape, -1)
