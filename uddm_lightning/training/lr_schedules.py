"""Learning rate over the steps of a run, as a factor of the optimizer's rate."""

from abc import ABC, abstractmethod

from typing_extensions import override


class LearningRate(ABC):
    """Factor on the optimizer's learning rate, per optimizer step.

    Args:
        warmup: steps over which the factor rises linearly from 0 to 1.
    """

    def __init__(self, warmup: int = 0) -> None:
        if warmup < 0:
            raise ValueError(f"`warmup` must be at least 0 steps, got {warmup}.")
        self.warmup = warmup

    def __call__(self, finished: int, total: int) -> float:
        """Factor for the step that follows `finished` optimizer steps out of `total` (-1: no end is set)."""
        warm = min(1.0, finished / self.warmup) if self.warmup else 1.0
        return warm * self.decay(finished, total)

    @abstractmethod
    def decay(self, finished: int, total: int) -> float:
        """Factor apart from the warm-up."""


class WarmupConstant(LearningRate):
    """Rises over the warm-up, then stays: the schedule of the paper."""

    @override
    def decay(self, finished: int, total: int) -> float:
        return 1.0


class WarmupLinear(LearningRate):
    """Rises over the warm-up and falls linearly to a floor at the last step.

    Args:
        warmup: steps of warm-up.
        floor: factor at the end, in [0, 1].
    """

    def __init__(self, warmup: int = 0, floor: float = 0.0) -> None:
        super().__init__(warmup)
        if not 0.0 <= floor <= 1.0:
            raise ValueError(f"`floor` must be in [0, 1], got {floor}.")
        self.floor = floor

    @override
    def decay(self, finished: int, total: int) -> float:
        if total <= self.warmup:
            return 1.0
        progress = min(1.0, max(0.0, (finished - self.warmup) / (total - self.warmup)))
        return 1.0 - (1.0 - self.floor) * progress
