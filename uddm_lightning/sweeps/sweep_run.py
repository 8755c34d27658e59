"""One run of a sweep: a backbone, a size and a seed, trained and measured by `uddm fit` in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uddm_lightning.runs import folder as run_folder


@dataclass(frozen=True)
class SweepRun:
    """What to train, where, and with how much of the machine.

    Attributes:
        backbone: what results call the network.
        size: training rows.
        seed: of everything random.
        sweep_folder: folder of the sweep.
        start: arguments of `uddm` that train the run from its beginning.
        steps: optimizer steps of a finished run.
        threads: CPU threads of each process.
        processes: processes of a run, one for each device.
        gpus: of them, how many use a GPU of their own: all or none.
    """

    backbone: str
    size: int
    seed: int
    sweep_folder: Path
    start: tuple[str, ...]
    steps: int
    threads: int = 1
    processes: int = 1
    gpus: int = 0

    @property
    def name(self) -> str:
        """For people; programs read size and seed from the tables."""
        return f"{self.backbone}-n{self.size}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.sweep_folder / "runs" / self.name

    @property
    def log(self) -> Path:
        """File with everything that the run has printed."""
        return self.sweep_folder / "logs" / f"{self.name}.log"

    @property
    def heartbeat(self) -> Path:
        """File in which the run says how many steps are done, and the seconds that it spent on them."""
        return self.sweep_folder / "logs" / f"{self.name}.step"

    @property
    def cores(self) -> int:
        """CPU cores that the run keeps busy."""
        return self.threads * self.processes

    def done(self) -> int:
        """Optimizer steps done, as far as is known; `steps` once the run is finished."""
        if self.finished():
            return self.steps
        with suppress(OSError, ValueError, IndexError):
            return min(int(self._heard()[0]), self.steps)
        return 0

    def step_seconds(self) -> float:
        """Seconds that the run, since it last began, has spent on optimizer steps; 0 where it has not said so."""
        with suppress(OSError, ValueError, IndexError):
            return float(self._heard()[1])
        return 0.0

    def _heard(self) -> list[str]:
        return self.heartbeat.read_text(encoding="utf-8").split()

    def finished(self) -> bool:
        """Whether the run has trained all its steps, or was stopped early by its config, and the last is saved."""
        return run_folder.trained_steps(self.folder) >= self.steps or bool(run_folder.stopped_early(self.folder))

    def busy(self) -> bool:
        """Whether another process is training in the folder of the run at this moment."""
        return run_folder.busy(self.folder)

    def arguments(self) -> list[str]:
        """Arguments of `uddm` that go on from the last checkpoint, or start where there is none."""
        config, last = self.folder / "config.yaml", self.folder / "checkpoints" / "last.ckpt"
        if config.exists() and last.exists():
            return ["fit", "-c", str(config), "--ckpt_path", "last"]
        return list(self.start)

    def environment(self) -> dict[str, str]:
        """Variables that a run finds set, whoever starts it."""
        return {
            "OMP_NUM_THREADS": str(self.threads),
            "UDDM_HEARTBEAT": str(self.heartbeat),
            "TQDM_DISABLE": "1",  # the log is read afterwards, if at all
        }

    def launch(
        self, environment: Mapping[str, str] | None = None, before: Callable[[], object] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts the run as a process of its own that ends with this one; what it prints goes to `log`.

        Args:
            environment: variables to set beside those of this process.
            before: is called in the new process before the program starts.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 the arguments are this package's own
                [sys.executable, "-m", "uddm_lightning", *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment(), "UDDM_PARENT": str(os.getpid()), **(environment or {})},
                start_new_session=True,  # so that Ctrl-C reaches the sweep alone, which then ends its runs in order
                preexec_fn=before,
            )
