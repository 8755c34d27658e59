"""Launcher on a SLURM cluster: runs are submitted as job arrays through `submitit`."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from uddm_lightning.core.errors import InputError, check_at_least, require_package
from uddm_lightning.sweeps.launchers.base import Launcher, Outcome
from uddm_lightning.sweeps.launchers.slurm_job import Training, outside_slurm
from uddm_lightning.sweeps.sweep_run import SweepRun

if TYPE_CHECKING:
    import submitit

PROGRAMS = ("sbatch", "srun", "squeue", "scancel")

QUERY_SECONDS = 10.0  # between two polls of results and controller, each for all jobs at once
ANSWER_SECONDS = 20.0  # timeout of a query
RESULT_SECONDS = 15.0  # to wait for the result of an ended job, since shared file systems lag behind
SIGNAL_SECONDS = 90  # between the signal to end and the time limit; a quarter of the limit if that is shorter

# States of `squeue` in which a job has not ended; in every other state it has.
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED", "RESIZING"}
UNKNOWN = "not known to SLURM"


@dataclass
class _Submission:
    """A run, its job and the last known state of the job.

    Attributes:
        run: the run.
        job: its job.
        state: state as `squeue` prints it.
        reason: why the job is in that state.
        ended: monotonic time at which the job was first seen to have ended; None while it may continue.
    """

    run: SweepRun
    job: "submitit.Job[int]"
    state: str = "PENDING"
    reason: str = ""
    ended: float | None = None


@dataclass(eq=False)
class SlurmLauncher(Launcher):
    """Trains each run as a job of a SLURM cluster; runs that need the same resources form one job array.

    A run is one task on one node, with the cores and GPUs of the run. A job that reaches its time limit or is preempted
    returns to the queue and continues from the last checkpoint. Jobs stay in the queue if the program that submitted
    them is killed; the next sweep uses their results. The launcher needs `submitit` and a folder that all nodes share.

    Args:
        jobs: largest number of runs of one array at a time; None sets no limit.
        partition: partition of the jobs; the cluster's default if None.
        account: account that is charged; the cluster's default if None.
        qos: quality of service; the cluster's default if None.
        constraint: features that a node must have, as `sbatch --constraint` takes them.
        timeout_min: time limit of a job in minutes.
        mem_gb: memory of a job in gigabytes; the cluster's default if None.
        max_timeouts: how many times a run continues after its time limit.
        setup: shell commands that a job runs before the training.
        additional: other options of `sbatch` by their long names, such as `{"mail-type": "FAIL"}`.

    Raises:
        InputError: an argument is out of range.
    """

    jobs: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    timeout_min: int = 24 * 60
    mem_gb: float | None = None
    max_timeouts: int = 10
    setup: list[str] | None = None
    additional: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__init__(self.jobs)
        check_at_least(1, timeout_min=self.timeout_min)
        check_at_least(0, max_timeouts=self.max_timeouts)
        if self.mem_gb is not None and not self.mem_gb > 0:
            raise InputError(f"`mem_gb` must be above 0, got {self.mem_gb}.")
        self._submissions: list[_Submission] = []
        self._looked = float("-inf")  # monotonic time of the last poll

    @override
    def check_available(self) -> None:
        require_package("submitit", "slurm", "`--launcher slurm` submits jobs")
        absent = [name for name in PROGRAMS if shutil.which(name) is None]
        if absent:
            raise InputError(
                f"`--launcher slurm` needs SLURM's programs, but `{'`, `'.join(absent)}` cannot be found on $PATH. "
                "Start the sweep on a login node of the cluster, or use `--launcher local`."
            )

    @override
    def submit(self, runs: Sequence[SweepRun]) -> None:
        self.check_available()
        from submitit import SlurmExecutor

        order = sorted(runs, key=_needs)  # stable: within an array, runs keep the order in which they were given
        for (folder, cores, gpus), group in groupby(order, key=_needs):
            array = list(group)
            executor = SlurmExecutor(folder / "logs" / "slurm", max_num_timeout=self.max_timeouts)
            executor.update_parameters(  # submitit leaves out those that are None
                job_name="uddm",
                nodes=1,
                ntasks_per_node=1,
                cpus_per_task=cores,
                srun_args=["--cpus-per-task", str(cores)],  # since SLURM 22.05 `srun` does not inherit it
                gpus_per_node=gpus or None,
                array_parallelism=self.jobs or len(array),
                time=self.timeout_min,
                signal_delay_s=min(SIGNAL_SECONDS, 15 * self.timeout_min),
                partition=self.partition,
                account=self.account,
                qos=self.qos,
                constraint=self.constraint,
                mem=None if self.mem_gb is None else f"{max(1, round(self.mem_gb * 1024))}M",
                setup=self.setup,
                additional_parameters={"requeue": True, **(self.additional or {})},
            )
            try:
                with outside_slurm():
                    jobs = executor.submit_array([Training(run) for run in array])
            except (RuntimeError, OSError) as error:  # submitit raises these if sbatch fails
                raise InputError(f"`sbatch` did not take the jobs: {error}") from error
            self._submissions += [_Submission(run, job) for run, job in zip(array, jobs, strict=True)]

    @override
    def poll(self) -> list[Outcome]:
        now = time.monotonic()
        if not self._submissions or now - self._looked < QUERY_SECONDS:
            return []
        self._looked = now
        self._ask()
        outcomes = []
        for submission in self._submissions.copy():
            outcome = _outcome(submission)
            if outcome is not None:
                self._submissions.remove(submission)
                # a job may be killed, or reach its last time limit, after its run has finished
                outcomes.append(Outcome(outcome.run, 0) if outcome.status and outcome.run.finished() else outcome)
        return outcomes

    @override
    def running(self) -> list[SweepRun]:
        return [submission.run for submission in self._submissions if submission.state in RUNNING]

    @override
    def stop(self) -> None:
        names = [submission.job.job_id for submission in self._submissions]
        if not names:
            return
        command = ["scancel", *names]
        try:
            _call(command)
        except (OSError, subprocess.SubprocessError) as error:
            raise InputError(
                f"The jobs could not be cancelled: {_said(error)}. Cancel them by hand: `{' '.join(command)}`."
            ) from error
        self._submissions.clear()

    def _ask(self) -> None:
        """Query the controller for the states of the jobs.

        `squeue` works on every cluster and lists an ended job for some minutes. `sacct` needs accounting, and submitit
        caches its last answer for up to ten minutes.
        """
        states = _states(sorted({submission.job.job_id.partition("_")[0] for submission in self._submissions}))
        if states is None:
            return  # no answer: keep the last known states
        for submission in self._submissions:
            submission.state, submission.reason = states.get(submission.job.job_id, (UNKNOWN, ""))
            if submission.state in WAITING | RUNNING:
                submission.ended = None  # the job was being requeued
            elif submission.ended is None:
                submission.ended = time.monotonic()


def _needs(run: SweepRun) -> tuple[Path, int, int]:
    """Return the folder, cores and GPUs, which all runs of one array share."""
    return run.sweep_folder, run.cores, run.gpus


def _call(command: Sequence[str]) -> str:
    answer = subprocess.run(  # noqa: S603 the programs are SLURM's own, and no shell is used
        command, capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS
    )
    return answer.stdout


def _said(error: Exception) -> str:
    """Return the error message of a failed command."""
    return str(getattr(error, "stderr", None) or error).strip()


def _cause(error: Exception) -> str:
    """Return the error in a report by submitit: the last line of the traceback between two rules."""
    rule = "-" * 22
    report = str(error)
    return (report.split(rule)[1] if report.count(rule) >= 2 else report).strip().splitlines()[-1]


def _states(arrays: Sequence[str]) -> dict[str, tuple[str, str]] | None:
    """Return state and reason of each job of the arrays that the controller lists; None if it does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(arrays)}"]
    try:
        answer = _call(command)
    except subprocess.CalledProcessError as error:
        return {} if "Invalid job id" in _said(error) else None  # it lists none of them
    except (OSError, subprocess.SubprocessError):
        return None
    fields = [line.strip().split("|", 2) for line in answer.splitlines() if line.count("|") >= 2]
    return {name: (state, reason) for name, state, reason in fields}


def _outcome(submission: _Submission) -> Outcome | None:
    """Return how a job ended; None if it has not ended, or if its result may still appear."""
    run, job = submission.run, submission.job
    if submission.ended is not None:
        with suppress(OSError):  # makes a network file system refresh the folder
            job.paths.folder.chmod(job.paths.folder.stat().st_mode)
    if job.paths.result_pickle.exists():
        error = job.exception()
        if error is not None:
            return Outcome(run, 1, f"SLURM job {job.job_id}: {_cause(error)}, see {job.paths.stderr}")
        return Outcome(run, job.result())
    if submission.ended is None or time.monotonic() - submission.ended < RESULT_SECONDS:
        return None
    state = submission.state + (f" ({submission.reason})" if submission.reason not in ("", "None") else "")
    return Outcome(run, 1, f"SLURM job {job.job_id} left no result: {state}, see {job.paths.stderr}")
