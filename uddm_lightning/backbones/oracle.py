"""Oracles: backbones that are trained by nobody, because their answer is known exactly.

Shapes: B rows, L positions, N tokens, V ids; W of them in the vocabulary, without a mask.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone, TextStatistics
from uddm_lightning.processes.parameterization import Parameterization


class Oracle(Backbone):
    """The exact leave-one-out prediction under the uniform or the absorbing process, for one idea of text.

    It has no parameters. Its features are log-probabilities, of which its head makes nothing else.
    """

    predicts = Parameterization.LEAVE_ONE_OUT

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.mask: int | None = None

    @override
    def prepare(self, known: TextStatistics) -> None:
        self.mask = known.mask

    def telling(self, tokens_BL: Tensor, valid_BL: Tensor | None) -> Tensor:
        """True, bool (B, L), where a noisy token says something: neither at padding nor at a mask."""
        telling_BL = torch.ones_like(tokens_BL, dtype=torch.bool) if valid_BL is None else valid_BL
        return telling_BL if self.mask is None else telling_BL & (tokens_BL != self.mask)

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Log-probabilities (B, L, V), float64; those of one position are normalised up to a constant."""
        alpha_B = torch.exp(-sigma_B.double())
        changed_B = -torch.expm1(-sigma_B.double())  # 1 - alpha, exact where alpha is nearly 1
        logp_BLW = self.predict(tokens_BL, alpha_B, changed_B, valid_BL)
        return torch.nn.functional.pad(logp_BLW, (0, self.vocab_size - logp_BLW.shape[2]), value=-torch.inf)

    @abstractmethod
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, changed_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Log of p(x_0^l = v | x_t without position l), float64 (B, L, W), up to a constant for each position.

        With a mask, only what is said at masked positions matters.

        Args:
            tokens_BL: int64 noisy ids.
            alpha_B: float64, share of tokens that no noise has touched.
            changed_B: float64, 1 - alpha.
            valid_BL: False at padding, which says nothing; None where every position is valid.
        """

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND
