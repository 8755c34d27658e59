"""Runs as SLURM jobs: submission, states of jobs, and a sweep on a real one-node cluster."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from submitit.core.utils import cloudpickle_dump

from tests.support.slurm_cluster import missing, slurm_cluster
from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.launchers import Outcome, SlurmLauncher, slurm, slurm_job
from uddm_lightning.sweeps.launchers.slurm_job import Training
from uddm_lightning.sweeps.sweep_run import SweepRun

WORDS = ("the", "of", "and", "to", "we", "our", "people", "congress", "war", "peace", "law", "year")


def plain_run(folder: Path, size: int = 2, **fields: object) -> SweepRun:
    return replace(SweepRun("DiT", size, 0, folder, ("fit",), 6), **fields)


# Requests to SLURM, whose programs are scripts here


class Programs:
    """`sbatch` and the other programs as scripts that record their arguments and print given output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.say(
            "sbatch", 'echo "Submitted batch job $(wc -l < sbatch.calls)"; cp "$1" "script$(wc -l < sbatch.calls)"'
        )
        for name in ("srun", "squeue", "scancel"):
            self.say(name, "")

    def say(self, name: str, answer: str, status: int = 0) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\ncd {self.folder}\necho "$*" >> {name}.calls\n{answer}\nexit {status}\n')
        path.chmod(0o755)

    def states(self, *lines: str) -> None:
        self.say("squeue", "\n".join(f"echo '{line}'" for line in lines))

    def calls(self, name: str) -> list[str]:
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def script(self, number: int) -> list[str]:
        return (self.folder / f"script{number}").read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "QUERY_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 0.0)
    return Programs(folder)


def write_result(folder: Path, job: str, *result: object) -> None:
    cloudpickle_dump(result, folder / "logs" / "slurm" / f"{job}_0_result.pkl")


def test_missing_submitit_is_reported(tmp_path, programs, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"pip install 'uddm-lightning\[slurm\]'"):
        SlurmLauncher().submit([plain_run(tmp_path)])


def test_missing_slurm_is_reported_with_the_login_node(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="`sbatch`, `srun`, `squeue`, `scancel` cannot be found"):
        SlurmLauncher().submit([plain_run(tmp_path)])


@pytest.mark.parametrize(
    ("argument", "value"),
    [("timeout_min", 0), ("max_timeouts", -1), ("mem_gb", 0.0), ("mem_gb", float("nan"))],
)
def test_arguments_are_checked(argument, value):
    with pytest.raises(InputError, match=f"`{argument}` must be .*got {value}"):
        SlurmLauncher(**{argument: value})


def test_runs_with_equal_resources_form_one_array(tmp_path, programs):
    runs = [
        plain_run(tmp_path, 2),
        plain_run(tmp_path, 4, threads=2),
        plain_run(tmp_path, 8),
        plain_run(tmp_path, 16, processes=2, gpus=2),
        plain_run(tmp_path, 32),
    ]
    launcher = SlurmLauncher()
    launcher.submit(runs)
    small, large, gpus = (programs.script(number) for number in (1, 2, 3))
    assert "#SBATCH --array=0-2%3" in small
    assert "#SBATCH --cpus-per-task=1" in small
    assert not any("array" in line or "gpus" in line for line in large)
    assert "#SBATCH --cpus-per-task=2" in large
    assert "--cpus-per-task 2" in large[-1]
    assert "#SBATCH --gpus-per-node=2" in gpus
    assert "#SBATCH --cpus-per-task=2" in gpus
    programs.states(
        "1_0|RUNNING|None", "1_1|PENDING|Resources", "1_2|COMPLETING|None", "2|RUNNING|None", "3|PENDING|Priority"
    )
    assert launcher.running() == []
    assert launcher.poll() == []
    assert launcher.running() == [runs[0], runs[4], runs[1]]
    assert programs.calls("squeue")[-1].endswith("--jobs=1,2,3")


def test_arguments_are_written_to_the_script(tmp_path, programs):
    launcher = SlurmLauncher(
        partition="long",
        account="us",
        qos="low",
        constraint="a100|h100",
        timeout_min=2,
        mem_gb=1.5,
        jobs=1,
        setup=["module load python"],
        additional={"mail-type": "FAIL"},
    )
    launcher.submit([plain_run(tmp_path, 2), plain_run(tmp_path, 4)])
    script = programs.script(1)
    for line in (
        "#SBATCH --partition=long",
        "#SBATCH --account=us",
        "#SBATCH --qos=low",
        "#SBATCH --constraint='a100|h100'",
        "#SBATCH --time=2",
        "#SBATCH --signal=USR2@30",
        "#SBATCH --mem=1536M",
        "#SBATCH --array=0-1%1",
        "#SBATCH --mail-type=FAIL",
        "#SBATCH --requeue",
        "module load python",
    ):
        assert line in script


def test_a_sweep_inside_a_job_does_not_pass_on_its_resources(tmp_path, programs, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_CONF", "/etc/here.conf")
    programs.say("sbatch", 'echo "Submitted batch job 1"; env > seen')
    SlurmLauncher().submit([plain_run(tmp_path)])
    seen = (programs.folder / "seen").read_text()
    assert "SLURM_NTASKS" not in seen
    assert "SLURM_CONF=/etc/here.conf" in seen
    assert os.environ["SLURM_NTASKS"] == "8"


def test_an_error_of_sbatch_is_reported(tmp_path, programs):
    programs.say("sbatch", "echo 'invalid partition specified: lnog' >&2", status=1)
    with pytest.raises(InputError, match=r"`sbatch` did not take the jobs: .*invalid partition specified: lnog"):
        SlurmLauncher(partition="lnog").submit([plain_run(tmp_path)])


def test_results_are_returned_once(tmp_path, programs):
    runs = [plain_run(tmp_path, size) for size in (2, 4, 8, 16)]
    launcher = SlurmLauncher()
    launcher.submit(runs)
    programs.states(*(f"1_{index}|RUNNING|None" for index in range(4)))
    assert launcher.poll() == []
    write_result(tmp_path, "1_0", "success", 0)
    write_result(tmp_path, "1_1", "success", 2)
    write_result(tmp_path, "1_2", "success", -9)
    assert launcher.poll() == [
        Outcome(runs[0], 0),
        Outcome(runs[1], 2),
        Outcome(runs[2], -9),
    ]
    assert launcher.running() == [runs[3]]
    write_result(tmp_path, "1_3", "error", "Traceback:\n  File\nUncompletedJobError: timed-out too many times\n")
    (outcome,) = launcher.poll()
    assert (outcome.run, outcome.status) == (runs[3], 1)
    assert "SLURM job 1_3: UncompletedJobError: timed-out too many times, see " in outcome.reason
    assert launcher.poll() == []
    assert launcher.running() == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1|OUT_OF_MEMORY|None", "OUT_OF_MEMORY"),
        ("1|FAILED|NonZeroExitCode", "FAILED (NonZeroExitCode)"),
        ("2|RUNNING|None", "not known to SLURM"),
    ],
)
def test_a_job_that_left_no_result_is_reported_after_a_while(tmp_path, programs, monkeypatch, line, reason):
    run = plain_run(tmp_path)
    launcher = SlurmLauncher()
    launcher.submit([run])
    programs.states(line)
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 60.0)
    assert launcher.poll() == []
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 0.0)
    (outcome,) = launcher.poll()
    assert outcome.status == 1
    assert outcome.reason.startswith(f"SLURM job 1 left no result: {reason}, see ")


def test_a_finished_run_has_not_failed_however_its_job_ended(tmp_path, programs):
    runs = [plain_run(tmp_path, size) for size in (2, 4)]
    launcher = SlurmLauncher()
    launcher.submit(runs)
    for run in runs:
        run.folder.mkdir(parents=True)
        (run.folder / "manifest.json").write_text('{"trained_steps": 6}', encoding="utf-8")
    programs.states("1_0|FAILED|NonZeroExitCode", "1_1|RUNNING|None")
    write_result(tmp_path, "1_1", "error", "UncompletedJobError: timed-out too many times")
    assert launcher.poll() == [Outcome(run, 0) for run in runs]


def test_a_job_that_the_controller_has_forgotten_is_reported(tmp_path, programs):
    launcher = SlurmLauncher()
    launcher.submit([plain_run(tmp_path)])
    programs.say("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2", status=1)
    (outcome,) = launcher.poll()
    assert "not known to SLURM" in outcome.reason


def test_a_job_is_not_failed_while_the_controller_is_silent_or_requeues_it(tmp_path, programs, monkeypatch):
    launcher = SlurmLauncher()
    launcher.submit([plain_run(tmp_path)])
    programs.say("squeue", "echo 'Unable to contact slurm controller' >&2", status=1)
    assert launcher.poll() == []
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 0.2)
    programs.say("squeue", "exec sleep 5")
    assert launcher.poll() == []
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 20.0)
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 0.5)
    programs.states("1|NODE_FAIL|None")
    assert launcher.poll() == []
    time.sleep(0.6)
    programs.states("1|PENDING|BeginTime")
    assert launcher.poll() == []


def test_the_controller_is_not_queried_at_every_poll(tmp_path, programs, monkeypatch):
    monkeypatch.setattr(slurm, "QUERY_SECONDS", 60.0)
    launcher = SlurmLauncher()
    assert launcher.poll() == []
    assert programs.calls("squeue") == []
    launcher.submit([plain_run(tmp_path)])
    programs.states("1|RUNNING|None")
    for _ in range(3):
        assert launcher.poll() == []
        assert len(launcher.running()) == 1
    assert len(programs.calls("squeue")) == 1


def test_stop_cancels_jobs_that_have_not_ended(tmp_path, programs):
    launcher = SlurmLauncher()
    launcher.stop()
    assert programs.calls("scancel") == []
    launcher.submit([plain_run(tmp_path, size) for size in (2, 4, 8)])
    programs.states("1_0|RUNNING|None", "1_1|RUNNING|None", "1_2|PENDING|Resources")
    write_result(tmp_path, "1_1", "success", 0)
    assert len(launcher.poll()) == 1
    launcher.stop()
    assert programs.calls("scancel") == ["1_0 1_2"]
    assert launcher.poll() == []


def test_a_failed_cancellation_prints_the_command(tmp_path, programs):
    launcher = SlurmLauncher()
    launcher.submit([plain_run(tmp_path)])
    programs.say("scancel", "echo 'no controller' >&2", status=1)
    with pytest.raises(InputError, match=r"could not be cancelled: no controller\. .*`scancel 1`"):
        launcher.stop()


# The work of a job, without SLURM


class ScriptedRun:
    """A run whose process is a line of Python and whose state is a list of values."""

    def __init__(self, script: str = "", finished: tuple[bool, ...] = (), busy: tuple[bool, ...] = ()) -> None:
        self.script = script
        self._finished = list(finished)
        self._busy = list(busy)
        self.launched: list[subprocess.Popen[bytes]] = []

    def finished(self) -> bool:
        return self._finished.pop(0) if self._finished else False

    def busy(self) -> bool:
        return self._busy.pop(0) if self._busy else False

    def launch(self, before: Callable[[], object]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", f"import os, signal, subprocess, sys, time\n{self.script}"]
        self.launched.append(subprocess.Popen(command, start_new_session=True, preexec_fn=before))
        return self.launched[-1]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUSY_SECONDS", "VERDICT_SECONDS"):
        monkeypatch.setattr(slurm_job, name, 0.0)
    monkeypatch.setattr(slurm_job, "GRACE_SECONDS", 0.5)


# Python 3.12 and later warn about code between fork and exec with threads; the threads here are those of pytest-xdist
in_a_job = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")


@pytest.mark.usefixtures("_impatient")
@in_a_job
class TestTraining:
    def test_a_finished_run_is_not_started(self):
        run = ScriptedRun(finished=(True,))
        assert Training(run)() == 0
        assert run.launched == []

    def test_a_job_waits_for_another_process_that_trains_its_run(self):
        run = ScriptedRun(finished=(False, False, True), busy=(True, True))
        assert Training(run)() == 0
        assert run.launched == []

    def test_a_second_job_of_a_run_waits_for_the_first(self):
        run = ScriptedRun("sys.exit(2)", finished=(False, False, True), busy=(False, True, True))
        assert Training(run)() == 0
        assert len(run.launched) == 1

    def test_the_status_of_the_run_is_the_result(self):
        assert Training(ScriptedRun("sys.exit(3)"))() == 3
        assert Training(ScriptedRun("os.kill(os.getpid(), signal.SIGKILL)"))() == -signal.SIGKILL
        assert Training(ScriptedRun("", finished=(False, True)))() == 0

    def test_the_run_inherits_neither_slurm_variables_nor_signals(self, monkeypatch):
        monkeypatch.setenv("SLURM_JOB_ID", "1")
        monkeypatch.setenv("SLURM_CONF", "/etc/here.conf")
        script = """
os.kill(os.getpid(), signal.SIGUSR2)
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(5 if [name for name in os.environ if name.startswith("SLURM")] == ["SLURM_CONF"] else 6)
"""
        assert Training(ScriptedRun(script))() == 5
        assert os.environ["SLURM_JOB_ID"] == "1"

    def test_a_run_ended_by_sigterm_has_not_succeeded(self):
        assert Training(ScriptedRun("sys.exit(0)"))() == -signal.SIGTERM
        obedient = "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nos.kill(os.getpid(), signal.SIGTERM)"
        assert Training(ScriptedRun(obedient))() == -signal.SIGTERM

    def test_a_requeued_job_leaves_no_process_behind(self, tmp_path):
        script = f"""
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(tmp_path / "other")!r}, "w").write(str(other.pid))
os.kill(os.getppid(), signal.SIGUSR2)
time.sleep(60)
"""
        run = ScriptedRun(script)
        before = signal.signal(signal.SIGUSR2, lambda number, frame: sys.exit("requeued"))
        try:
            with pytest.raises(SystemExit, match="requeued"):
                Training(run)()
        finally:
            signal.signal(signal.SIGUSR2, before)
        assert run.launched[0].returncode == -signal.SIGKILL
        other = Path(f"/proc/{(tmp_path / 'other').read_text()}/status")
        wait_until(lambda: not other.exists() or "State:\tZ" in other.read_text(), 10)

    def test_a_signal_during_the_start_is_handled_after_it(self):
        arrived = []
        before = signal.signal(signal.SIGUSR2, lambda number, frame: arrived.append(number))
        try:
            with slurm_job.deferred(signal.SIGUSR2):
                signal.raise_signal(signal.SIGUSR2)
                assert arrived == []
            assert arrived == [signal.SIGUSR2]
        finally:
            signal.signal(signal.SIGUSR2, before)

    def test_a_requeued_job_runs_again(self, tmp_path):
        training = Training(plain_run(tmp_path))
        again = pickle.loads(pickle.dumps(training.checkpoint()))  # noqa: S301 written by this test
        assert type(again.function) is Training
        assert again.function.run == training.run


# A real cluster of one node


def wait_until(condition: Callable[[], object], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def collect(launcher: SlurmLauncher) -> dict[int, Outcome]:
    """Wait for an outcome and return it by the size of its run."""
    outcomes: list[Outcome] = []
    wait_until(lambda: outcomes.extend(launcher.poll()) or outcomes)
    return {outcome.run.size: outcome for outcome in outcomes}


def show(outcomes: dict[int, Outcome]) -> str:
    """Return the logs for the message of a failed assertion."""
    runs = [outcome.run for outcome in outcomes.values()]
    paths = [path for run in runs for path in (run.log, *sorted((run.sweep_folder / "logs" / "slurm").glob("*_log.*")))]
    logs = [f"--- {path}\n{path.read_text()[-3000:]}" for path in dict.fromkeys(paths) if path.exists()]
    return "\n".join([*map(str, outcomes.values()), *logs])


def queue() -> list[str]:
    command = ["squeue", "--noheader", "--array", "--format=%i %T"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    if reason := missing():
        pytest.skip(reason)
    with slurm_cluster():
        yield


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], SweepRun]:
    """Return a function that makes runs of a tiny network, by size and steps; every third step is measured and
    saved."""
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(slurm, "QUERY_SECONDS", 0.5)
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 2.0)
    generator = random.Random(0)  # noqa: S311 no secret is made here
    text = "\n".join(" ".join(generator.choices(WORDS, k=12)) for _ in range(300))
    (tmp_path / "corpus.txt").write_text(text, encoding="utf-8")
    config = {
        "threads": 1,
        "data": {
            "source": {"class_path": "TextFiles", "init_args": {"paths": str(tmp_path / "corpus.txt")}},
            "tokenizer": {"class_path": "CharacterTokenizer"},
            "packing": {"class_path": "WrappedPacking", "init_args": {"length": 16}},
            "batch_size": 8,
            "num_train_rows": 16,
            "num_test_rows": 16,
        },
        "model": {
            "process": {"class_path": "UniformProcess", "init_args": {"schedule": {"class_path": "LogLinearSchedule"}}},
            "backbone": {
                "class_path": "DiT",
                "init_args": {"hidden_size": 16, "n_blocks": 1, "n_heads": 2, "cond_dim": 8},
            },
            "objective": {"class_path": "NELBO", "init_args": {"t_min": 0.02}},
            "sampler": {"class_path": "AncestralSampler", "init_args": {"steps": 5}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "lr_schedule": {"class_path": "WarmupConstant", "init_args": {"warmup_steps": 2}},
        },
        "recovery": {"times": [0.1]},
        "entropy": {"times": [0.1]},
        "nelbo": {"times_per_row": 2},
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "val_check_interval": 3,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")

    def make(size: int, steps: int) -> SweepRun:
        run = SweepRun("DiT", size, 0, tmp_path / "sweep", (), steps)
        sizes = ("--data.train_size", str(size), "--trainer.max_steps", str(steps))
        return replace(run, start=("fit", "-c", str(path), *sizes, "--out", str(run.folder)))

    return make


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
class TestCluster:
    @pytest.mark.timeout(900)
    def test_a_sweep_with_a_killed_job_gives_the_numbers_of_a_local_one(self, make_run, tmp_path, uddm):
        killed = make_run(2, 15)  # the sweep uses its folder
        words = ("sweep", "-c", tmp_path / "tiny.yaml", "--sizes", "2,4", "--trainer.max_steps", 15)
        by_slurm = (*words, "--page-only", "--out", killed.sweep_folder)
        by_slurm = (*by_slurm, "--launcher", "slurm", "--launcher.timeout_min", 20)
        command = [sys.executable, "-m", "uddm_lightning", *map(str, by_slurm)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            wait_until((killed.folder / "checkpoints" / "last.ckpt").exists)
            (array,) = {line.partition("_")[0] for line in queue()}
            subprocess.run(["scancel", "--signal=KILL", f"{array}_0"], check=True)
            text, _ = process.communicate(timeout=400)
        assert process.returncode == 1, text
        assert f"DiT-n2-s0 FAILED: SLURM job {array}_0 left no result: CANCELLED" in text
        assert [run.finished() for run in (killed, make_run(4, 15))] == [False, True]
        outcome = uddm(*by_slurm)
        assert outcome.status == 0, outcome.out + outcome.err
        assert "1 of 2 runs are finished already" in outcome.out + outcome.err
        assert "Restored all states" in killed.log.read_text()
        assert uddm(*words, "--page-only", "--out", tmp_path / "local").status == 0
        tables = [(folder / "measurements.csv").read_bytes() for folder in (killed.sweep_folder, tmp_path / "local")]
        assert tables[0] == tables[1]

    def test_a_job_at_its_time_limit_is_requeued_and_resumes(self, make_run):
        run = make_run(2, 15)
        launcher = SlurmLauncher(timeout_min=5)
        launcher.submit([run])
        wait_until((run.folder / "checkpoints" / "last.ckpt").exists)
        (job,) = (line.partition(" ")[0] for line in queue())
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
        outcomes = collect(launcher)
        assert outcomes == {run.size: Outcome(run, 0)}, show(outcomes)
        assert run.finished()
        assert f"Requeued job {job} (9 remaining timeouts)" in show(outcomes)
        assert "Restored all states" in run.log.read_text(), show(outcomes)

    def test_stop_cancels_running_and_pending_jobs(self, make_run):
        runs = [make_run(size, 30) for size in (2, 4, 8)]
        launcher = SlurmLauncher(timeout_min=5)
        launcher.submit(runs)
        wait_until(lambda: all(run.busy() for run in runs[:2]))
        assert launcher.poll() == []
        assert launcher.running() == runs[:2]
        launcher.stop()
        assert launcher.poll() == []
        wait_until(lambda: queue() == [], 30)
        assert not any(run.busy() for run in runs)

    def test_an_unknown_partition_gives_one_message(self, make_run):
        with pytest.raises(InputError, match=r"did not take the jobs: .*[Ii]nvalid partition"):
            SlurmLauncher(partition="nowhere").submit([make_run(2, 3)])
