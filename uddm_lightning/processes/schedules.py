"""Noise schedules: how much of the signal is left at time t."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override


class Level(NamedTuple):
    """Signal level at time t, float64.

    Attributes:
        alpha: share of tokens that no noise has touched, in (0, 1].
        slope: d alpha / d t, negative.
    """

    alpha: Tensor
    slope: Tensor

    @property
    def sigma(self) -> Tensor:
        """-ln alpha, what the network is told about the noise."""
        return -torch.log(self.alpha)


class Schedule(ABC):
    """Maps t in [0, 1] to a signal level that falls from 1 at t = 0 to nearly 0 at t = 1.

    Args:
        eps: the level at t = 1; strictly positive so that the loss stays finite there.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        if not 0.0 < eps < 1.0:
            raise ValueError(f"`eps` must lie strictly between 0 and 1, got {eps}.")
        self.eps = eps

    @abstractmethod
    def __call__(self, t: Tensor) -> Level:
        """Level at times `t` (any shape, values in [0, 1]), in float64."""


class LogLinearSchedule(Schedule):
    """alpha_t = 1 - (1 - eps) t (Austin et al. 2021; Sahoo et al. 2024; the schedule of the paper)."""

    @override
    def __call__(self, t: Tensor) -> Level:
        t = t.double()
        return Level(alpha=1.0 - (1.0 - self.eps) * t, slope=torch.full_like(t, self.eps - 1.0))


class CosineSchedule(Schedule):
    """alpha_t = 1 - (1 - eps) (1 - cos(pi t / 2)): slow at first, fast at the end."""

    @override
    def __call__(self, t: Tensor) -> Level:
        angle = 0.5 * math.pi * t.double()
        return Level(
            alpha=1.0 - (1.0 - self.eps) * (1.0 - torch.cos(angle)),
            slope=-(1.0 - self.eps) * 0.5 * math.pi * torch.sin(angle),
        )
