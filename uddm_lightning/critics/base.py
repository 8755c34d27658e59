"""The contract of a critic.

Shapes: B rows, L positions, R rows to learn from, M tokens of the critic.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor


class CriticText(NamedTuple):
    """The text that a critic may know.

    Attributes:
        pool: number of rows in the whole training pool; every subset of it has the same critic.
        rows: ids (R, L), int64, of rows of the pool by their numbers (R,); `ngrams.ABSENT` at padding.
        vocab_size: V.
        decode: text of ids, begin, end and separators left out.
    """

    pool: int
    rows: Callable[[Tensor], Tensor]
    vocab_size: int
    decode: Callable[[Sequence[int]], str]


class CriticScores(NamedTuple):
    """What a critic says of rows.

    Attributes:
        nll_BM: float64, -ln p(token | what stands before it) of the critic's own tokens, in nats.
        judged_BM: bool, which of them count.
    """

    nll_BM: Tensor
    judged_BM: Tensor


class Critic(ABC):
    """An autoregressive language model whose perplexity on samples is their generative perplexity.

    That is exp(mean nll of all tokens that count), and no bound on the likelihood of the model that wrote them: a model
    that repeats a few good rows does well by it.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call it."""

    def check(self) -> None:  # noqa: B027 most critics need nothing
        """Looks whether what the critic needs is installed; fetches nothing.

        Raises:
            InputError: it is not.
        """

    def load(self) -> None:
        """Fetches and loads what the critic needs, before a run begins that will ask it.

        Raises:
            InputError: it cannot be had.
        """
        self.check()

    @abstractmethod
    def fit(self, reading: CriticText) -> None:
        """Gets ready to judge; a model that needs no text learns nothing from it.

        Raises:
            InputError: the critic cannot be had.
        """

    @abstractmethod
    def judge(self, tokens_BL: Tensor, counted_BL: Tensor) -> CriticScores:
        """Likelihood of rows, from left to right.

        Args:
            tokens_BL: int64 ids.
            counted_BL: bool, positions whose tokens are judged.
        """
