"""Progress of the trainer: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from typing_extensions import override

from uddm_lightning.core.progress import MEASURING, Progress

REFRESH = 20  # micro-batches, because drawing the bar takes a noticeable part of a small network's step


def _on_stderr(draw: Callable[[TQDMProgressBar], Tqdm]) -> Callable[[TQDMProgressBar], Tqdm]:
    """Redirect a method of Lightning that draws a new bar on stdout to stderr."""

    def drawn(self: TQDMProgressBar) -> Tqdm:
        with redirect_stdout(sys.stderr):
            return draw(self)

    return drawn


class _MeasuringProgress(ProgressBar):
    """One display for all batches of a validation or a test; the probes show their names on it."""

    _measuring: Progress | None = None

    @override
    def on_validation_start(self, *_: Any, **__: Any) -> None:
        trainer = self.trainer
        batches = sum(trainer.num_test_batches if trainer.testing else trainer.num_val_batches)
        if getattr(self, "is_enabled", True):  # of the subclasses
            self._measuring = Progress.measuring = Progress("measuring", batches, "batches", bar_format=MEASURING)

    @override
    def on_validation_batch_start(self, *_: Any, **__: Any) -> None:
        """Leave the display as it is: Lightning would begin another one for each split."""

    @override
    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        if self._measuring is not None:
            self._measuring.update()

    @override
    def on_validation_end(self, *_: Any, **__: Any) -> None:
        if self._measuring is not None:
            self._measuring.close()
            self._measuring = None

    on_test_start = on_validation_start
    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end


class StepProgressBar(_MeasuringProgress, TQDMProgressBar):
    """A bar that counts micro-batches up to `trainer.max_steps`, so that it can show the time left.

    Bars go to stderr, because stdout holds results alone.
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
        # the time left of a resumed run follows from the speed of this session alone
        self.train_progress_bar.initial = trainer.global_step * trainer.accumulate_grad_batches

    init_train_tqdm = _on_stderr(TQDMProgressBar.init_train_tqdm)
    init_predict_tqdm = _on_stderr(TQDMProgressBar.init_predict_tqdm)


class StepProgressLines(_MeasuringProgress):
    """Plain lines with the optimizer steps done and the time left, for a log file."""

    def __init__(self) -> None:
        super().__init__()
        self._is_enabled = True
        self._training: Progress | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._is_enabled

    @override
    def enable(self) -> None:
        self._is_enabled = True

    @override
    def disable(self) -> None:
        self._is_enabled = False

    @override
    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        total = trainer.max_steps if trainer.max_steps > 0 else None
        self._training = self._start("training", total, "steps", trainer.global_step)

    @override
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._training is not None:
            self._training.update(trainer.global_step - self._training.done)

    @override
    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.on_validation_end()
        if self._training is not None:
            self._training.close()

    on_exception = on_train_end

    def _start(self, doing: str, total: float | None, unit: str, initial: int = 0) -> Progress | None:
        return Progress(doing, total, unit, initial) if self._is_enabled else None
