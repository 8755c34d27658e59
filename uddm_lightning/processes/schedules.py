"""Noise schedules: the signal level alpha_t as a function of time t."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_within


class NoiseLevel(NamedTuple):
    """Signal level at time t with its derivative, float64.

    Attributes:
        alpha: alpha_t, the probability that noise has not touched a token, in (0, 1].
        slope: d alpha_t / d t, at most 0.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.schedules import NoiseLevel
        >>> level = NoiseLevel(alpha=torch.tensor([1.0, 0.5]), slope=torch.tensor([-1.0, -1.0]))
        >>> level.sigma
        tensor([-0.0000, 0.6931])
    """

    alpha: Tensor
    slope: Tensor

    @property
    def sigma(self) -> Tensor:
        """Total noise -ln alpha_t, the network's conditioning input."""
        return -torch.log(self.alpha)


class Schedule(ABC):
    """Base class of noise schedules: alpha_t falls from 1 at t = 0 to `eps` at t = 1.

    A subclass implements `__call__`.

    Args:
        eps: alpha_1, in (0, 1). It is positive, so that the loss is finite at t = 1.

    Raises:
        ValueError: `eps` is not in (0, 1).

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.schedules import NoiseLevel, Schedule
        >>> class QuadraticSchedule(Schedule):
        ...     def __call__(self, t):
        ...         scale = 1.0 - self.eps
        ...         return NoiseLevel(alpha=1.0 - scale * t.double() ** 2, slope=-2.0 * scale * t.double())
        >>> QuadraticSchedule(eps=0.1)(torch.tensor([0.0, 1.0])).alpha
        tensor([1.0000, 0.1000], dtype=torch.float64)
    """

    def __init__(self, eps: float = 1e-3) -> None:
        check_within("(0, 1)", eps=eps)
        self.eps = eps

    @abstractmethod
    def __call__(self, t: Tensor) -> NoiseLevel:
        """Return the noise level at times `t`, with values in [0, 1] and any shape, in float64."""


class LogLinearSchedule(Schedule):
    """Log-linear schedule: alpha_t = 1 - (1 - eps) t.

    Source: Austin et al. 2021, arXiv 2107.03006; Sahoo et al. 2024, arXiv 2406.07524. The paper uses it.

    Args:
        eps: alpha_1, in (0, 1).

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> level = LogLinearSchedule()(torch.tensor([0.0, 0.5, 1.0]))
        >>> level.alpha
        tensor([1.0000, 0.5005, 0.0010], dtype=torch.float64)
        >>> level.slope
        tensor([-0.9990, -0.9990, -0.9990], dtype=torch.float64)
    """

    @override
    def __call__(self, t: Tensor) -> NoiseLevel:
        t = t.double()
        return NoiseLevel(alpha=1.0 - (1.0 - self.eps) * t, slope=torch.full_like(t, self.eps - 1.0))


class CosineSchedule(Schedule):
    """Cosine schedule: alpha_t = 1 - (1 - eps) (1 - cos(pi t / 2)), which changes slowly near t = 0.

    Args:
        eps: alpha_1, in (0, 1).

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.schedules import CosineSchedule
        >>> CosineSchedule()(torch.tensor([0.0, 0.5, 1.0])).alpha
        tensor([1.0000, 0.7074, 0.0010], dtype=torch.float64)
    """

    @override
    def __call__(self, t: Tensor) -> NoiseLevel:
        angle = 0.5 * math.pi * t.double()
        return NoiseLevel(
            alpha=1.0 - (1.0 - self.eps) * (1.0 - torch.cos(angle)),
            slope=-(1.0 - self.eps) * 0.5 * math.pi * torch.sin(angle),
        )
