"""Oracles: backbones that are trained by nobody, because their answer is known exactly.

Shapes: B rows, L positions, N tokens, V ids in the vocabulary.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.prediction import Prediction


class Oracle(Backbone):
    """The exact leave-one-out prediction under the uniform process, for one idea of where text comes from.

    It has no parameters. Its features are log-probabilities, of which its head makes nothing else.
    """

    predicts = Prediction.LEAVE_ONE_OUT

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Log-probabilities (B, L, V), float64; those of one position are normalised up to a constant."""
        alpha_B = torch.exp(-sigma_B.double())
        changed_B = -torch.expm1(-sigma_B.double())  # 1 - alpha, exact where alpha is nearly 1
        return self.predict(tokens_BL, alpha_B, changed_B, valid_BL)

    @abstractmethod
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, changed_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Log of p(x_0^l = v | x_t without position l), float64 (B, L, V), up to a constant for each position.

        Args:
            tokens_BL: int64 noisy ids.
            alpha_B: float64, share of tokens that no noise has touched.
            changed_B: float64, 1 - alpha.
            valid_BL: False at padding, which says nothing; None where every position is valid.
        """

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND
