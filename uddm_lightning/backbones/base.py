"""The contract of a backbone: the network, or an oracle in its place.

Shapes: B rows, L positions, N tokens, V ids in the vocabulary, D features.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from typing_extensions import override


class Backbone(nn.Module, ABC):
    """Reads noisy tokens and says, at every position, what was there.

    The projection to the vocabulary is apart, so that callers ask for logits only where, and in such chunks as, they
    need them. What the logits mean (leave-one-out or posterior) is declared by the objective that trains the network.

    Args:
        vocab_size: V, number of ids.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    @override
    @abstractmethod
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Features (B, L, D) of noisy ids.

        Args:
            tokens_BL: int64 ids.
            sigma_B: noise levels -ln alpha_t, float.
            valid_BL: False at padding, which no position may attend to; None where every position is valid.
        """

    @abstractmethod
    def head(self, hidden_ND: Tensor) -> Tensor:
        """Logits (N, V) of features."""

    def prepare(self, rows_NL: Tensor) -> None:
        """Shows the training rows, int64 (N, L), to backbones that need them (oracles); a network ignores them."""
