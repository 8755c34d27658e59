"""Report the progress of a run to the program that started it."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.core.parent_process import exit_with_parent, parent_check

SECONDS = 0.5  # between two reports


class Heartbeat(Callback):
    """Writes the progress of a run to a file, and ends the process when the parent program has ended.

    The file holds the number of optimizer steps, the seconds spent on them, and the share of the batches that the
    validation under way has measured, from 0 to 1.

    Otherwise a sweep killed with -9 would leave its runs behind, and the same sweep started again would find their
    folders locked.

    Args:
        path: the file.
        watched: returns whether the parent program is still running.
    """

    def __init__(self, path: Path, watched: Callable[[], bool]) -> None:
        self.path = path
        self.watched = watched
        self.seconds = 0.0
        self._started = 0.0
        self._measured, self._batches = 0, 1
        self._over = threading.Event()

    @classmethod
    def from_environment(cls) -> "Heartbeat | None":
        """Return the callback if $UDDM_HEARTBEAT is set in a process with a watched parent, else None."""
        path, is_watched = os.environ.get("UDDM_HEARTBEAT"), parent_check()
        return cls(Path(path), is_watched) if path and is_watched else None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            exit_with_parent(self.watched, SECONDS)
            threading.Thread(target=self._beat, args=(trainer,), daemon=True).start()

    def _beat(self, trainer: Trainer) -> None:
        written: tuple[int, int] | None = None
        while not self._over.wait(SECONDS):
            if (now := (trainer.global_step, self._measured)) != written:
                written = now
                self._write(now[0])

    def _write(self, step: int) -> None:
        share = min(self._measured / self._batches, 1.0)
        self.path.write_text(f"{step} {self.seconds:.3f} {share:.3f}\n", encoding="utf-8")

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measured, self._batches = 0, max(int(sum(trainer.num_val_batches)), 1)

    @override
    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self._measured += 1

    @override
    def on_train_batch_start(self, *_: Any) -> None:
        self._started = time.monotonic()
        self._measured = 0

    @override
    def on_train_batch_end(self, *_: Any) -> None:
        self.seconds += time.monotonic() - self._started

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._over.set()
        if trainer.is_global_zero:
            self._write(trainer.global_step)
