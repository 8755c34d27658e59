"""Learning rate schedules, as a factor on the optimizer's rate."""

from abc import ABC, abstractmethod

from typing_extensions import override

from uddm_lightning.core.errors import check_at_least, check_within


class LRSchedule(ABC):
    """Factor on the optimizer's learning rate, per optimizer step.

    Args:
        warmup_steps: steps over which the factor rises linearly from 0 to 1.
    """

    def __init__(self, warmup_steps: int = 0) -> None:
        check_at_least(0, warmup_steps=warmup_steps)
        self.warmup_steps = warmup_steps

    def __call__(self, finished: int, total: int) -> float:
        """Return the factor for the step after `finished` of `total` optimizer steps (-1: no end is set)."""
        warm = min(1.0, finished / self.warmup_steps) if self.warmup_steps else 1.0
        return warm * self.decay(finished, total)

    @abstractmethod
    def decay(self, finished: int, total: int) -> float:
        """Return the factor without the warm-up."""


class WarmupConstant(LRSchedule):
    """Constant rate after the warm-up: the schedule of the paper.

    Example:
        >>> [WarmupConstant(warmup_steps=4)(step, 100) for step in (0, 2, 4, 99)]
        [0.0, 0.5, 1.0, 1.0]
    """

    @override
    def decay(self, finished: int, total: int) -> float:
        return 1.0


class WarmupLinear(LRSchedule):
    """Linear decay to `min_lr_ratio` at the last step, after the warm-up.

    Args:
        warmup_steps: steps of warm-up.
        min_lr_ratio: factor at the last step, in [0, 1].

    Example:
        >>> [WarmupLinear(min_lr_ratio=0.5)(step, 100) for step in (0, 50, 100)]
        [1.0, 0.75, 0.5]
    """

    def __init__(self, warmup_steps: int = 0, min_lr_ratio: float = 0.0) -> None:
        super().__init__(warmup_steps)
        check_within("[0, 1]", min_lr_ratio=min_lr_ratio)
        self.min_lr_ratio = min_lr_ratio

    @override
    def decay(self, finished: int, total: int) -> float:
        if total <= self.warmup_steps:
            return 1.0
        progress = min(1.0, max(0.0, (finished - self.warmup_steps) / (total - self.warmup_steps)))
        return 1.0 - (1.0 - self.min_lr_ratio) * progress
