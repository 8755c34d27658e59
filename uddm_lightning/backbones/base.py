"""The contract of a backbone: the network, or an oracle in its place.

Shapes: B rows, L positions, N tokens, V ids in the vocabulary, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from typing_extensions import override

from uddm_lightning.core.batch import SoftTokens
from uddm_lightning.processes.parameterization import Parameterization
from uddm_lightning.stats.markov_chain import MarkovChain


class TextStatistics(NamedTuple):
    """What is known of the text, for backbones that compute their answer from it.

    Attributes:
        rows: gives the training rows, int64 (N, L).
        unigram_V: float64, frequencies of ids in the whole training pool, add-one smoothed.
        chain: the law of the text in terms of ids, where it was drawn from a Markov chain.
        mask: the id that noise writes in place of a token; None where noise redraws tokens uniformly.
    """

    rows: Callable[[], Tensor]
    unigram_V: Tensor
    chain: MarkovChain | None = None
    mask: int | None = None


class Backbone(nn.Module, ABC):
    """Reads noisy tokens and says, at every position, what was there.

    The projection to the vocabulary is apart, so that callers ask for logits only where, and in such chunks as, they
    need them.

    Args:
        vocab_size: V, number of ids that may stand in noisy text, a mask included.

    Attributes:
        predicts: what the logits mean; None where the objective that trains the network decides.
        exact_splits: splits whose text has exactly the law by which the backbone predicts.
    """

    predicts: ClassVar[Parameterization | None] = None
    exact_splits: ClassVar[tuple[str, ...]] = ()

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

    def prepare(self, known: TextStatistics) -> None:
        """Shows the text to backbones that need it (oracles), before they are first asked; a network ignores it.

        Raises:
            InputError: the text is not what the backbone can work with.
        """


class SoftBackbone(Backbone):
    """A backbone that reads mixtures of ids, too, because it reads ids through an embedding."""

    @override
    @abstractmethod
    def forward(self, tokens: Tensor | SoftTokens, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Features (B, L, D) of noisy ids (B, L) or of mixtures; a mixture of one id is read as that id.

        Args:
            tokens: int64 ids, or ids with weights.
            sigma_B: noise levels -ln alpha_t, float.
            valid_BL: as in `Backbone`.
        """
