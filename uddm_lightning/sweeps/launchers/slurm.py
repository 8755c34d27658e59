"""Runs as jobs of a SLURM cluster, submitted as job arrays through `submitit`."""

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.launchers.base import Launcher, Outcome
from uddm_lightning.sweeps.launchers.slurm_job import Training, outside_slurm
from uddm_lightning.sweeps.sweep_run import SweepRun

if TYPE_CHECKING:
    import submitit

PROGRAMS = ("sbatch", "srun", "squeue", "scancel")

QUERY_SECONDS = 10.0  # between two looks at results and two questions to the controller, each for all jobs at once
ANSWER_SECONDS = 20.0  # after which a question counts as not answered
RESULT_SECONDS = 15.0  # in which the result of an ended job has to appear: shared file systems lag behind
SIGNAL_SECONDS = 90  # before its time limit a job is told to end; a quarter of the limit where that is shorter

# What `squeue` calls jobs that will still come to something; every other state is an end.
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED", "RESIZING"}
UNKNOWN = "not known to SLURM"


@dataclass
class _Submission:
    """A run, its job, and what is known about it.

    Attributes:
        run: the run.
        job: its job.
        state: as `squeue` calls it.
        reason: why the job is in that state.
        ended: when the job was first seen to have ended, by the monotonic clock; None while it may go on.
    """

    run: SweepRun
    job: "submitit.Job[int]"
    state: str = "PENDING"
    reason: str = ""
    ended: float | None = None


class SlurmLauncher(Launcher):
    """Trains each run as a job of a SLURM cluster; runs that need the same resources form one job array.

    A run becomes one task on one node with the cores and GPUs that the run says. A job that reaches its time limit or
    is preempted goes back into the queue and on from the last checkpoint. Jobs stay in the queue when the program that
    submitted them is killed; the next one finds what they have trained. Needs `submitit` and a folder that all nodes
    share.

    Args:
        jobs: how many runs of one array run at a time; as many as the cluster admits if None.
        partition: where jobs run; the cluster's default if None.
        account: who is charged; the cluster's default if None.
        qos: quality of service; the cluster's default if None.
        constraint: features that a node must have, as `sbatch --constraint` takes them.
        timeout_min: time limit of a job in minutes.
        mem_gb: memory of a job in gigabytes; the cluster's default if None.
        max_timeouts: how often a run goes on after its time limit.
        setup: lines of shell that run in a job before the training.
        additional: other options of `sbatch` by their long names, such as `{"mail-type": "FAIL"}`.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        jobs: int | None = None,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        timeout_min: int = 24 * 60,
        mem_gb: float | None = None,
        max_timeouts: int = 10,
        setup: list[str] | None = None,
        additional: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(jobs)
        for name, value, least in (("timeout_min", timeout_min, 1), ("max_timeouts", max_timeouts, 0)):
            if value < least:
                raise InputError(f"`{name}` must be at least {least}, got {value}.")
        if mem_gb is not None and not mem_gb > 0:
            raise InputError(f"`mem_gb` must be above 0, got {mem_gb}.")
        self.partition = partition
        self.account = account
        self.qos = qos
        self.constraint = constraint
        self.timeout_min = timeout_min
        self.mem_gb = mem_gb
        self.max_timeouts = max_timeouts
        self.setup = setup
        self.additional = additional
        self._submissions: list[_Submission] = []
        self._looked = float("-inf")  # when `poll` last looked, by the monotonic clock

    @override
    def check_available(self) -> None:
        _submitit()
        _check_programs()

    @override
    def submit(self, runs: Sequence[SweepRun]) -> None:
        self.check_available()
        slurm_executor = _submitit().SlurmExecutor
        order = sorted(runs, key=_needs)  # stable: within an array, runs keep the order in which they were given
        for needs, group in groupby(order, key=_needs):
            array = list(group)
            folder, cores, gpus = needs
            executor = slurm_executor(folder / "logs" / "slurm", max_num_timeout=self.max_timeouts)
            executor.update_parameters(**self._parameters(len(array), cores, gpus))
            try:
                with outside_slurm():
                    jobs = executor.submit_array([Training(run) for run in array])
            except (RuntimeError, OSError) as error:  # how submitit hands on what sbatch said
                raise InputError(f"`sbatch` did not take the jobs: {error}") from error
            self._submissions += [_Submission(run, job) for run, job in zip(array, jobs, strict=True)]

    def _parameters(self, number: int, cores: int, gpus: int) -> dict[str, Any]:
        """What submitit writes into the script of an array of this many runs."""
        wanted = {
            "job_name": "uddm",
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": cores,
            "srun_args": ["--cpus-per-task", str(cores)],  # which since SLURM 22.05 `srun` does not take from its job
            "gpus_per_node": gpus or None,
            "time": self.timeout_min,
            "signal_delay_s": min(SIGNAL_SECONDS, 15 * self.timeout_min),
            "array_parallelism": self.jobs or number,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "mem": None if self.mem_gb is None else f"{max(1, round(self.mem_gb * 1024))}M",
            "setup": self.setup,
            "additional_parameters": {"requeue": True, **(self.additional or {})},
        }
        return {name: value for name, value in wanted.items() if value is not None}

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
                # a job may be killed, or reach its last time limit, while its finished run is on the way out
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
        """Asks the controller what has become of the jobs.

        Neither by `sacct`, which needs accounting, nor by submitit, which trusts its last answer for up to ten minutes:
        `squeue` works everywhere and remembers an ended job for some minutes.
        """
        states = _states(sorted({submission.job.job_id.partition("_")[0] for submission in self._submissions}))
        if states is None:
            return  # it does not answer: nothing is known, and no job is given up
        for submission in self._submissions:
            submission.state, submission.reason = states.get(submission.job.job_id, (UNKNOWN, ""))
            if submission.state in WAITING | RUNNING:
                submission.ended = None  # what looked like an end was on the way back into the queue
            elif submission.ended is None:
                submission.ended = time.monotonic()


def _needs(run: SweepRun) -> tuple[Path, int, int]:
    """What runs of one array have in common."""
    return run.sweep_folder, run.cores, run.gpus


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            "`--launcher slurm` needs the package submitit: `pip install 'uddm-lightning[slurm]'`."
        ) from error
    return submitit


def _check_programs() -> None:
    """Checks that jobs can be submitted from here.

    Raises:
        InputError: SLURM's programs are not on the search path.
    """
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        raise InputError(
            f"`--launcher slurm` needs SLURM's programs, but `{'`, `'.join(absent)}` cannot be found on $PATH. "
            "Start the sweep on a login node of the cluster, or use `--launcher local`."
        )


def _call(command: Sequence[str]) -> str:
    answer = subprocess.run(  # noqa: S603 the programs are SLURM's own, and no shell is between
        command, capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS
    )
    return answer.stdout


def _said(error: Exception) -> str:
    """What a command said that failed."""
    return str(getattr(error, "stderr", None) or error).strip()


def _cause(error: Exception) -> str:
    """The line of a report by submitit that says what happened: the last one of the traceback between two rules."""
    rule = "-" * 22
    report = str(error)
    return (report.split(rule)[1] if report.count(rule) >= 2 else report).strip().splitlines()[-1]


def _states(arrays: Sequence[str]) -> dict[str, tuple[str, str]] | None:
    """State and reason of each job of the arrays that the controller remembers; None where it does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r", f"--jobs={','.join(arrays)}"]
    try:
        answer = _call(command)
    except subprocess.CalledProcessError as error:
        return {} if "Invalid job id" in _said(error) else None  # it remembers none of them
    except (OSError, subprocess.SubprocessError):
        return None
    fields = [line.strip().split("|", 2) for line in answer.splitlines() if line.count("|") >= 2]
    return {name: (state, reason) for name, state, reason in fields}


def _outcome(submission: _Submission) -> Outcome | None:
    """How a job ended; None while it has not, or while its result may still appear."""
    run, job = submission.run, submission.job
    if submission.ended is not None:
        with suppress(OSError):  # makes a network file system look again
            job.paths.folder.chmod(job.paths.folder.stat().st_mode)
    if job.paths.result_pickle.exists():
        error = job.exception()
        if error is not None:
            return Outcome(run, 1, f"SLURM job {job.job_id}: {_cause(error)}, see {job.paths.stderr}")
        status = job.result()
        return Outcome(run, status, f"ended by signal {signal.Signals(-status).name}" if status < 0 else "")
    if submission.ended is None or time.monotonic() - submission.ended < RESULT_SECONDS:
        return None
    state = submission.state + (f" ({submission.reason})" if submission.reason not in ("", "None") else "")
    return Outcome(run, 1, f"SLURM job {job.job_id} left no result: {state}, see {job.paths.stderr}")
