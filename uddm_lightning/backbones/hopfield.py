"""Linear memories in closed form: Hebb's rule and the pseudo-inverse.

Shapes: L positions, K = V - 1 numbers of the code of an id, M = L K, R patterns.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import TextStatistics
from uddm_lightning.backbones.linear_memory import LinearMemory
from uddm_lightning.core.errors import check_within

CHUNK_PATTERNS = 4096  # patterns whose codes are in memory at once
SMALLEST_EIGENVALUE = 1e-9  # relative to the largest: smaller ones are rounding


class ClosedFormMemory(LinearMemory):
    """Base class of linear memories whose couplings are a function of the covariance of the training rows.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        beta: inverse temperature, in (0, 1e6), which multiplies J. The most probable ids do not depend on it.

    Raises:
        InputError: `beta` is out of range.
    """

    trainable = False
    couplings_MM: Tensor

    def __init__(self, vocab_size: int, beta: float = 1.0) -> None:
        super().__init__(vocab_size)
        check_within("(0, 1e6)", beta=beta)
        self.beta = beta
        self.register_buffer("couplings_MM", torch.zeros(0, 0, dtype=torch.float64), persistent=False)

    @override
    def prepare(self, statistics: TextStatistics) -> None:
        rows_RL = statistics.rows().to(self.code_VK.device)
        size = rows_RL.shape[1] * self.code_VK.shape[1]
        covariance_MM = torch.zeros(size, size, dtype=torch.float64, device=rows_RL.device)
        for rows_BL in torch.split(rows_RL, CHUNK_PATTERNS):
            spins_BM = self.spins(rows_BL).double()
            covariance_MM += spins_BM.T @ spins_BM
        learned_MM = self.learn(covariance_MM / rows_RL.shape[1])
        self.couplings_MM = self.beta * learned_MM * self.off_diagonal(rows_RL.shape[1])

    @abstractmethod
    def learn(self, covariance_MM: Tensor) -> Tensor:
        """Return J of the sum over patterns of s s^T / L, float64 (M, M). Its diagonal blocks are then set to 0."""

    @override
    def couplings(self) -> Tensor:
        return self.couplings_MM


class HebbMemory(ClosedFormMemory):
    """Hebb's rule, J = sum over training rows of s s^T / L: the Hopfield network.

    For random patterns of spins, R < 0.138 L of them are near fixed points, with a few wrong spins; above, none is.

    Source: Hopfield 1982; capacity: Amit, Gutfreund and Sompolinsky 1985.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        beta: inverse temperature, in (0, 1e6), which multiplies J. The most probable ids do not depend on it.

    Raises:
        InputError: `beta` is out of range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import HebbMemory, TextStatistics
        >>> backbone, rows_RL = HebbMemory(2), torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1]])
        >>> backbone.prepare(TextStatistics(lambda: rows_RL, torch.tensor([0.5, 0.5])))
        >>> backbone.couplings()[0]
        tensor([ 0.0000,  0.0000, -0.5000,  0.0000], dtype=torch.float64)
    """

    @override
    def learn(self, covariance_MM: Tensor) -> Tensor:
        return covariance_MM


class PseudoInverseMemory(ClosedFormMemory):
    """The pseudo-inverse rule: J is the projection on the span of the training rows.

    Any R < L linearly independent patterns are fixed points. From R = L on, J has no couplings between positions.

    Source: Personnaz, Guyon and Dreyfus 1985; without the diagonal: Kanter and Sompolinsky 1987.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        beta: inverse temperature, in (0, 1e6), which multiplies J. The most probable ids do not depend on it.

    Raises:
        InputError: `beta` is out of range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import PseudoInverseMemory, TextStatistics
        >>> backbone, rows_RL = PseudoInverseMemory(2), torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0]])
        >>> backbone.prepare(TextStatistics(lambda: rows_RL, torch.tensor([0.5, 0.5])))
        >>> torch.allclose(backbone.couplings()[0], torch.tensor([0.0, 0.0, -1.0, 1.0]).double() / 3)
        True
    """

    @override
    def learn(self, covariance_MM: Tensor) -> Tensor:
        values_M, vectors_MM = torch.linalg.eigh(covariance_MM)
        span_MR: Tensor = vectors_MM[:, values_M > SMALLEST_EIGENVALUE * values_M[-1]]
        return span_MR @ span_MR.T
