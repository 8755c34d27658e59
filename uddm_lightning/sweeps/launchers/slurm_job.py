"""The SLURM job of a sweep: it trains one run and continues it after each time limit."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from uddm_lightning.sweeps.sweep_run import SweepRun

if TYPE_CHECKING:
    import submitit

GROUPS = ("SLURM_", "SLURMD_", "SRUN_")  # prefixes of the variables that SLURM sets for a job
BUSY_SECONDS = 5.0  # between two checks of a folder in which another process trains
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
VERDICT_SECONDS = 120.0  # to wait after a SIGTERM for SLURM to preempt, cancel or requeue the job


class Training:
    """The function of a job: it trains one run, and continues it after SLURM has requeued the job.

    Args:
        run: the run.
    """

    def __init__(self, run: SweepRun) -> None:
        self.run = run

    def __call__(self) -> int:
        """Train the run, and return its exit status; negative if a signal ended it.

        It waits while another process is training the run.
        """
        while not self.run.finished():
            if self.run.busy():  # another sweep, or a process left from before this job was requeued
                time.sleep(BUSY_SECONDS)
                continue
            status = self._train()
            if status and self.run.busy():
                continue  # another process has taken the run
            if status in (0, -signal.SIGTERM, 128 + signal.SIGTERM) and not self.run.finished():
                # SLURM sends SIGTERM to the run and to this process before it preempts or cancels a job. Within its
                # grace time it then kills this process, or sends it the signal to requeue.
                time.sleep(VERDICT_SECONDS)
                return -signal.SIGTERM
            return status
        return 0

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        """Return the submission of a requeued job: the same function, since the run keeps its own checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self) -> int:
        from submitit import JobEnvironment

        requeue = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]

        def ignore() -> None:
            # SLURM signals every process of the job; only the handlers of the parent process act on it
            signal.signal(requeue, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        process = None
        try:
            with deferred(requeue), outside_slurm():
                process = self.run.launch(before=ignore)
            return process.wait()
        finally:
            if process is not None:
                _end(process)


@contextmanager
def deferred(number: signal.Signals) -> Iterator[None]:
    """Defer the handling of a signal to the end of the block."""
    arrived: list[int] = []
    handler = signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(number, handler)
        if arrived:
            signal.raise_signal(number)


@contextmanager
def outside_slurm() -> Iterator[None]:
    """Hide the variables of the present job; a run would take ranks, and `sbatch` resources, from them."""
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(GROUPS) and name != "SLURM_CONF"}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the remaining processes of a run, which form a process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
