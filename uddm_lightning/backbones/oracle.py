"""Base class of oracles: backbones that compute exact predictions instead of learning them.

Shapes: B rows, L positions, N tokens, V ids in noisy text, W ids in the vocabulary (without the mask token).
"""

from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone, TextStatistics
from uddm_lightning.core.parameterization import Parameterization


class Oracle(Backbone):
    """Base class of exact leave-one-out predictions under the uniform or the absorbing process.

    An oracle has no parameters. Its features are log-probabilities, and its head is the identity. A subclass
    implements `predict` for one distribution of the text.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
    """

    parameterization = Parameterization.LEAVE_ONE_OUT
    trainable = False
    mask_id: int | None = None  # set by `prepare`

    @override
    def prepare(self, statistics: TextStatistics) -> None:
        self.mask_id = statistics.mask_id

    def informative_mask(self, tokens_BL: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Return a bool mask (B, L) of the noisy tokens that depend on x_0: neither padding nor mask tokens."""
        informative_BL = torch.ones_like(tokens_BL, dtype=torch.bool) if valid_BL is None else valid_BL
        return informative_BL if self.mask_id is None else informative_BL & (tokens_BL != self.mask_id)

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return leave-one-out log-probabilities (B, L, V), float64, up to a constant per position."""
        alpha_B = torch.exp(-sigma_B.double())
        noise_B = -torch.expm1(-sigma_B.double())  # 1 - alpha without cancellation where alpha is near 1
        logp_BLW = self.predict(tokens_BL, alpha_B, noise_B, valid_BL)
        return torch.nn.functional.pad(logp_BLW, (0, self.vocab_size - logp_BLW.shape[2]), value=-torch.inf)

    @abstractmethod
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, noise_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        """Return ln p(x_0^l = v | x_t without position l), float64 (B, L, W), up to a constant per position.

        Under the absorbing process only the values at mask tokens are used.

        Args:
            tokens_BL: int64 noisy ids.
            alpha_B: float64 signal levels, the probability that noise has not touched a token.
            noise_B: float64, 1 - alpha.
            valid_BL: False at padding, which the prediction ignores; None if every position is valid.
        """

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND
