"""A sign of life from a run that another program watches over."""

import os
import threading
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

SECONDS = 0.5  # between two looks


class Heartbeat(Callback):
    """Writes the number of optimizer steps done to a file while a run lasts, and ends with the program that started it.

    Without the latter, a sweep killed with -9 would leave its runs behind, and the same sweep started again would find
    their folders taken.

    Args:
        path: the file.
        parent: process id of the program that watches.
    """

    def __init__(self, path: Path, parent: int) -> None:
        self.path = path
        self.parent = parent
        self._over = threading.Event()

    @classmethod
    def from_environment(cls) -> "Heartbeat | None":
        """What $UDDM_HEARTBEAT and $UDDM_PARENT ask for; None where nobody watches."""
        path, parent = os.environ.get("UDDM_HEARTBEAT"), os.environ.get("UDDM_PARENT")
        return cls(Path(path), int(parent)) if path and parent else None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            threading.Thread(target=self._beat, args=(trainer,), daemon=True).start()

    def _beat(self, trainer: Trainer) -> None:
        written = -1
        while not self._over.wait(SECONDS):
            if os.getppid() != self.parent:
                os._exit(1)  # as if killed: files are written atomically, and the last checkpoint stands
            if trainer.global_step != written:
                written = trainer.global_step
                self.path.write_text(f"{written}\n", encoding="utf-8")

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._over.set()
