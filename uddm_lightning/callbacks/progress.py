"""A progress bar that knows where the end is."""

import sys
from contextlib import redirect_stdout
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from typing_extensions import override

REFRESH = 20  # micro-batches: drawing the bar takes a noticeable part of a small network's step


class StepProgressBar(TQDMProgressBar):
    """Counts micro-batches up to `trainer.max_steps`, so that an endless stream has a time of arrival.

    Bars go to stderr, where all other bars of this program are: stdout holds results alone.
    """

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

    # Lightning's own methods name stdout, and a bar is drawn as soon as it is made.

    @override
    def init_train_tqdm(self) -> Tqdm:
        with redirect_stdout(sys.stderr):
            return super().init_train_tqdm()

    @override
    def init_validation_tqdm(self) -> Tqdm:
        with redirect_stdout(sys.stderr):
            return super().init_validation_tqdm()

    @override
    def init_test_tqdm(self) -> Tqdm:
        with redirect_stdout(sys.stderr):
            return super().init_test_tqdm()

    @override
    def init_predict_tqdm(self) -> Tqdm:
        with redirect_stdout(sys.stderr):
            return super().init_predict_tqdm()
