"""What a SLURM job of a sweep does: it trains one run, and comes back to it after its time limit."""

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

GROUPS = ("SLURM_", "SLURMD_", "SRUN_")  # how variables begin that a job gets from SLURM
BUSY_SECONDS = 5.0  # between two looks at a folder in which another process trains
GRACE_SECONDS = 5.0  # that a run gets between SIGTERM and SIGKILL
VERDICT_SECONDS = 120.0  # that SLURM gets to say what a SIGTERM meant


class Training:
    """What a job does: it trains one run, and goes on with it when SLURM has requeued the job.

    Args:
        run: the run.
    """

    def __init__(self, run: SweepRun) -> None:
        self.run = run

    def __call__(self) -> int:
        """Returns the exit status of the run, negative where a signal ended it, once nobody is training the run."""
        while not self.run.finished():
            if self.run.busy():  # by another sweep, or by what is left of this job before it was requeued
                time.sleep(BUSY_SECONDS)
                continue
            status = self._train()
            if status and self.run.busy():
                continue  # another process was quicker
            if status in (0, -signal.SIGTERM, 128 + signal.SIGTERM) and not self.run.finished():
                # The run was asked to end, and obeyed. So was this process: SLURM does that before it preempts or
                # cancels a job, and kills this process or sends the signal to requeue within its grace time.
                time.sleep(VERDICT_SECONDS)
                return -signal.SIGTERM
            return status
        return 0

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        """What a requeued job does: the same once more, as the run keeps its own checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self) -> int:
        from submitit import JobEnvironment

        requeue = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]

        def ignore() -> None:
            # SLURM signals every process of the job: the handlers in this one decide
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
    """A signal that arrives meanwhile is handled at the end."""
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
    """Without the variables of a job, in which a run would see ranks, and `sbatch` resources, that are not theirs."""
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(GROUPS) and name != "SLURM_CONF"}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends what is left of the processes of a run, which form a group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
