"""A progress bar that knows where the end is."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from typing_extensions import override

REFRESH = 20  # micro-batches: drawing the bar takes a noticeable part of a small network's step


class StepProgressBar(TQDMProgressBar):
    """Counts micro-batches up to `trainer.max_steps`, so that an endless stream has a time of arrival."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESH)

    @property
    @override
    def total_train_batches(self) -> int | float:
        if self.trainer.max_steps > 0:
            return self.trainer.max_steps * self.trainer.accumulate_grad_batches
        return super().total_train_batches

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description("training")
        # a resumed run is measured by the speed of this session alone
        self.train_progress_bar.initial = trainer.global_step * trainer.accumulate_grad_batches
