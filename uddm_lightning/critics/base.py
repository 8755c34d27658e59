"""Base class of critics.

Shapes: B rows, L positions, R training rows, M tokens of the critic.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor


class CriticText(NamedTuple):
    """Training text that a critic may learn from.

    Attributes:
        pool_size: number of rows in the whole training pool. Every subset of the pool shares one critic.
        rows: callable that maps row numbers (R,) to int64 ids (R, L), with `ABSENT` at padding.
        vocab_size: V.
        decode: callable that maps ids to text; it omits begin, end, separator and padding tokens.
        held_out_size: number of held-out rows that are not measured as samples are.
        held_out: the same as `rows` for these; None if there are none.
    """

    pool_size: int
    rows: Callable[[Tensor], Tensor]
    vocab_size: int
    decode: Callable[[Sequence[int]], str]
    held_out_size: int = 0
    held_out: Callable[[Tensor], Tensor] | None = None


class CriticScores(NamedTuple):
    """Negative log-likelihoods of the critic's tokens.

    Attributes:
        nll_BM: float64, -ln p(token | preceding tokens) of the critic's own tokens, in nats.
        counted_BM: bool, True at the tokens that enter the perplexity.
    """

    nll_BM: Tensor
    counted_BM: Tensor


class Critic(ABC):
    """Autoregressive language model that computes generative perplexity.

    The generative perplexity of samples is exp(mean NLL of the counted tokens). It does not bound the likelihood of the
    model that wrote the samples: a model that repeats a few likely rows has a low generative perplexity.

    Example:
        >>> import torch
        >>> class UniformCritic(Critic):
        ...     name = "uniform"
        ...
        ...     def fit(self, text):
        ...         self.nll = torch.tensor(text.vocab_size, dtype=torch.float64).log()
        ...
        ...     def score(self, tokens_BL, counted_BL):
        ...         return CriticScores(self.nll.expand(tokens_BL.shape), counted_BL)
        >>> critic = UniformCritic()
        >>> critic.fit(CriticText(pool_size=1, rows=lambda ids: ids[:, None], vocab_size=8, decode=str))
        >>> scores = critic.score(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool))
        >>> round(float(scores.nll_BM[scores.counted_BM].mean().exp()), 6)
        8.0
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the critic in tables."""

    def check_requirements(self) -> None:  # noqa: B027 most critics need no optional package
        """Check that the packages that the critic needs are installed. Nothing is downloaded.

        Raises:
            InputError: a package is missing.
        """

    def load(self) -> None:
        """Download and load the model. A run calls this before training.

        Raises:
            InputError: a package is missing, or the model cannot be loaded.
        """
        self.check_requirements()

    @abstractmethod
    def fit(self, text: CriticText) -> None:
        """Fit the critic on the training text. A pretrained model only keeps `text.decode`.

        Raises:
            InputError: the model cannot be loaded.
        """

    @abstractmethod
    def score(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        """Return the negative log-likelihood of rows, from left to right.

        Args:
            tokens_BL: int64 ids.
            counted_BL: bool, True at the positions that enter the perplexity.

        Raises:
            RuntimeError: `fit` was not called.
        """
