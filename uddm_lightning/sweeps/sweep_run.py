"""One run of a sweep: a backbone, a size and a seed, trained and measured by `uddm fit` in its own folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.manifest import stopped_early, trained_steps


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, with its arguments and the resources that it needs.

    Attributes:
        backbone: name of the backbone in the results.
        size: number of training rows.
        seed: seed of all random numbers.
        sweep_folder: folder of the sweep.
        start: command of `uddm` that trains the run from its beginning, without size, seed and folder.
        steps: optimizer steps of a finished run.
        threads: CPU threads of each process.
        processes: processes of a run, one for each device.
        gpus: number of processes that use a GPU: all or none.
        gpu_memory: estimated bytes of a process on its GPU; None if unknown.
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
    gpu_memory: int | None = None

    @property
    def name(self) -> str:
        """Name for display; programs read size and seed from the tables."""
        return f"{self.backbone}-n{self.size}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.sweep_folder / "runs" / self.name

    @property
    def log(self) -> Path:
        """File with the output of the run."""
        return self.sweep_folder / "logs" / f"{self.name}.log"

    @property
    def heartbeat(self) -> Path:
        """File to which the run writes its progress, see `callbacks.heartbeat`."""
        return self.sweep_folder / "logs" / f"{self.name}.step"

    @property
    def cores(self) -> int:
        """Number of CPU cores that the run uses."""
        return self.threads * self.processes

    def progress(self) -> float:
        """Return the share of the run that is done, from 0 to 1; training and the last measurement are half each."""
        if self.finished():
            return 1.0
        steps, _, measured = self._heard()
        if self.start[0] == "validate":  # nothing to train
            return measured
        trained = min(steps / self.steps, 1.0)
        return 0.5 * trained + (0.5 * measured if trained == 1.0 else 0.0)

    def is_measuring(self) -> bool:
        """Return whether the run was measuring when it last reported."""
        return self._heard()[2] > 0

    def step_seconds(self) -> float:
        """Return the seconds spent on optimizer steps since the run last started; 0 if it has not reported any."""
        return self._heard()[1]

    def _heard(self) -> tuple[int, float, float]:
        """Return steps, seconds and measured share of the heartbeat; zeros if it is missing or incomplete."""
        try:
            steps, seconds, measured = self.heartbeat.read_text(encoding="utf-8").split()
            return int(steps), float(seconds), float(measured)
        except (OSError, ValueError):
            return 0, 0.0, 0.0

    def finished(self) -> bool:
        """Return whether the run has saved its last step, or the step at which its config stopped it early."""
        return trained_steps(self.folder) >= self.steps or bool(stopped_early(self.folder))

    def busy(self) -> bool:
        """Return whether another process is training in the folder of the run."""
        return run_folder.is_locked(self.folder)

    def arguments(self) -> list[str]:
        """Return the arguments of `uddm` that continue from the last checkpoint, or start the run without one."""
        config, last = self.folder / "config.yaml", self.folder / "checkpoints" / "last.ckpt"
        if config.exists() and last.exists():
            return ["fit", "-c", str(config), "--ckpt_path", "last"]
        filled = {"--data.train_size": self.size, "--seed_everything": self.seed, "--out": self.folder}
        return [*self.start, *(str(word) for pair in filled.items() for word in pair)]

    def environment(self) -> dict[str, str]:
        """Return the environment variables that every launcher sets for a run."""
        return {
            "OMP_NUM_THREADS": str(self.threads),
            "UDDM_HEARTBEAT": str(self.heartbeat),
            "TQDM_DISABLE": "1",  # a progress bar would fill the log
        }

    def launch(self, before: Callable[[], object] | None = None) -> subprocess.Popen[bytes]:
        """Start the run as a separate process that ends with this one and prints to `log`.

        Args:
            before: called in the new process before the program starts.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 the arguments are this package's own
                [sys.executable, "-m", "uddm_lightning", *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment(), "UDDM_PARENT": str(os.getpid())},
                start_new_session=True,  # Ctrl-C reaches only the sweep, which then stops its runs in order
                preexec_fn=before,
            )
