"""Validate after given optimizer steps."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from uddm_lightning.core.errors import InputError


class ValidationSteps(Callback):
    """Validates after given optimizer steps, in addition to those of `trainer.val_check_interval`.

    Measuring never changes training. A run that is measured at many steps thus shows how a shorter run with the same
    learning rates would have ended.

    Args:
        steps: numbers of optimizer steps, each at least 1.

    Raises:
        InputError: a step is not a whole number of at least 1, or there is none.

    Example:
        >>> ValidationSteps([125, 250, 500]).is_due(250)
        True
    """

    def __init__(self, steps: Sequence[int]) -> None:
        if not steps or any(isinstance(step, bool) or not isinstance(step, int) or step < 1 for step in steps):
            raise InputError(f"`steps` of {type(self).__name__} must be whole numbers of at least 1, got {steps}.")
        self.steps = tuple(steps)
        self._interval: int | float | None = None  # of `trainer.val_check_interval`, in micro-batches

    def is_due(self, step: int) -> bool:
        """Return whether to validate after this number of optimizer steps."""
        return step in self.steps

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._interval = trainer.val_check_batch

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        ends_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if ends_step and self.is_due(trainer.global_step + 1):
            trainer.val_check_batch = 1  # after every micro-batch, so after this one

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            trainer.val_check_batch = self._interval
