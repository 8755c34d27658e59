"""Base classes of backbones: networks, and oracles that replace them.

Shapes: B rows, L positions, N tokens, V ids in the vocabulary, D features, K ids per position.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from typing_extensions import override

from uddm_lightning.core.batch import SoftTokens
from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.core.parameterization import Parameterization


class TextStatistics(NamedTuple):
    """Training rows and statistics of the text, for backbones that compute predictions from them.

    Attributes:
        rows: function that returns the training rows, int64 (N, L).
        unigram_V: float64 frequencies of the ids in the whole training pool, with add-one smoothing.
        chain: Markov chain over ids that generated the text; None for other text.
        mask_id: id of the mask token; None for a process without one.
    """

    rows: Callable[[], Tensor]
    unigram_V: Tensor
    chain: MarkovChain | None = None
    mask_id: int | None = None


class Backbone(nn.Module, ABC):
    """Base class of models that predict the clean token at every position of a noisy row.

    `forward` returns features and `head` maps features to logits, so that callers compute logits only where they need
    them, and in chunks.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.

    Attributes:
        parameterization: distribution that the logits parameterize; None if the training objective decides.
        trainable: whether the backbone has parameters to train; if not, sweeps only measure it.
        capturable: whether `forward` reads no value of a tensor on the host, so that it can be compiled as one graph
            and replayed as a CUDA graph.
        exact_splits: splits whose text has exactly the distribution that the backbone assumes.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import Backbone
        >>> class BagOfTokens(Backbone):
        ...     def __init__(self, vocab_size, hidden_size=16):
        ...         super().__init__(vocab_size)
        ...         self.embedding = torch.nn.Embedding(vocab_size, hidden_size)
        ...         self.linear = torch.nn.Linear(hidden_size, vocab_size)
        ...
        ...     def forward(self, tokens_BL, sigma_B, valid_BL=None):
        ...         hidden_BLD = self.embedding(tokens_BL)
        ...         return hidden_BLD + hidden_BLD.mean(1, keepdim=True)
        ...
        ...     def head(self, hidden_ND):
        ...         return self.linear(hidden_ND)
        >>> backbone = BagOfTokens(27)
        >>> backbone.head(backbone(torch.zeros(2, 8).long(), torch.ones(2))[0]).shape
        torch.Size([8, 27])
    """

    parameterization: ClassVar[Parameterization | None] = None
    trainable: ClassVar[bool] = True
    capturable: ClassVar[bool] = False
    exact_splits: ClassVar[tuple[str, ...]] = ()

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    @override
    @abstractmethod
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return features (B, L, D) of noisy ids.

        Args:
            tokens_BL: int64 ids.
            sigma_B: float noise levels -ln alpha_t.
            valid_BL: False at padding, which no position attends to; None if every position is valid.
        """

    @abstractmethod
    def head(self, hidden_ND: Tensor) -> Tensor:
        """Return logits (N, V) of features (N, D)."""

    def prepare(self, statistics: TextStatistics) -> None:
        """Store statistics of the text. Called once before the first prediction; networks ignore it.

        Raises:
            InputError: the backbone does not support this text.
        """


class SoftBackbone(Backbone):
    """Base class of backbones that read ids through an embedding, and therefore also read `SoftTokens`."""

    @override
    @abstractmethod
    def forward(self, tokens: Tensor | SoftTokens, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return features (B, L, D) of noisy ids (B, L) or soft tokens.

        Args:
            tokens: int64 ids, or soft tokens. A soft token with all weight on one id equals that id.
            sigma_B: float noise levels -ln alpha_t.
            valid_BL: as in `Backbone.forward`.
        """
