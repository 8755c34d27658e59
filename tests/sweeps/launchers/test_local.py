"""Sweeps as real processes: in parallel, interrupted, killed, and two at once."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml

import uddm_lightning.sweeps.launchers.local as local
from tests.support.command_line import content, tiny_config, write_corpus
from uddm_lightning.cli.main import main
from uddm_lightning.runs.folder import is_locked
from uddm_lightning.runs.manifest import trained_steps
from uddm_lightning.sweeps.launchers import LocalLauncher
from uddm_lightning.sweeps.sweep_run import SweepRun

pytestmark = pytest.mark.slow
SIZES = (2, 8, 32)
STEPS = 60  # measured and saved every 20
# As in a shell's foreground: a test run in the background would inherit an ignored Ctrl-C.
START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('uddm_lightning', run_name='__main__', alter_sys=True)"
)


class Place:
    """A folder with a text, a config and a shared cache, and the command that runs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = tiny_config(write_corpus(folder / "corpus.txt"))
        settings["trainer"]["max_steps"] = STEPS
        settings["trainer"]["val_check_interval"] = 20
        self.config = folder / "tiny.yaml"
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", START, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, "UDDM_CACHE": str(self.folder / "cache")},
            start_new_session=True,
        )

    def words(self, out: str, *more: object) -> list[str]:
        sizes = ",".join(map(str, SIZES))
        return ["sweep", "-c", str(self.config), "--out", out, "--sizes", sizes, "--page-only", *map(str, more)]

    def sweep(self, out: str, *more: object) -> subprocess.Popen[str]:
        return self.start(*self.words(out, *more))

    def table(self, out: str) -> bytes:
        return (self.folder / out / "measurements.csv").read_bytes()


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    out, _ = process.communicate(timeout=500)
    assert process.returncode == status, out
    return out


def wait_for(condition, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("sweeps"))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setenv("UDDM_CACHE", str(place.folder / "cache"))
        patch.chdir(place.folder)
        patch.setattr(torch, "set_num_threads", lambda number: None)
        assert main(place.words("calm", "--jobs", 1)) == 0
    return place


@pytest.fixture
def here(place, uddm, monkeypatch) -> Callable[..., str]:
    """Return a function that runs a command in this process and returns its output. It has imported everything, and
    its sweeps share one fork server; only what is killed, stopped or starts beside another sweep needs its own process.
    """
    monkeypatch.setenv("UDDM_CACHE", str(place.folder / "cache"))
    monkeypatch.chdir(place.folder)

    def run(*words: object, status: int = 0) -> str:
        outcome = uddm(*words)
        assert outcome.status == status, outcome.out + outcome.err
        return outcome.out + outcome.err

    return run


def test_a_run_of_a_sweep_equals_a_run_of_fit(place, here):
    run, by_hand = place.folder / "calm" / "runs" / "DiT-n8-s0", place.folder / "by-hand" / "DiT-n8-s0"
    before = (run / "measurements.csv").read_bytes()
    here("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert (run / "measurements.csv").read_bytes() == before
    here("fit", "-c", place.config, "--data.train_size", 8, "--out", by_hand)
    assert (by_hand / "measurements.csv").read_bytes() == before


@pytest.mark.timeout(1200)
def test_killed_at_any_moment_it_resumes_to_the_same_result(place, here):
    """Kill the sweep alone with `kill -9`: at its start, during training, and when only the last run is unfinished and
    has a checkpoint. Its runs must end by themselves, and a finished one is not repeated.
    """
    moments = random.Random(0)  # noqa: S311 no secret is made here
    runs = place.folder / "killed" / "runs"
    small, large = runs / "DiT-n2-s0", runs / "DiT-n32-s0"

    def begun() -> bool:
        return runs.exists() and any(map(is_locked, runs.iterdir()))

    def half() -> bool:
        others = (runs / f"DiT-n{size}-s0" for size in SIZES[:-1])
        return (large / "checkpoints" / "last.ckpt").exists() and all(trained_steps(run) == STEPS for run in others)

    for condition, seconds in ((None, moments.uniform(1.0, 8.0)), (begun, moments.uniform(0.5, 2.5)), (half, 0.0)):
        process = place.sweep("killed", "--jobs", 2)
        if condition:
            wait_for(condition)
        time.sleep(seconds)
        process.kill()
        process.communicate()
    wait_for(lambda: not is_locked(large), 10)
    assert trained_steps(large) != STEPS
    finished = (small / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    log = place.folder / "killed" / "logs" / "DiT-n32-s0.log"
    log.unlink()
    out = here(*place.words("killed", "--jobs", 2))
    assert "FAILED" not in out
    assert "2 of 3 runs are finished already" in out
    assert (small / "checkpoints" / "last.ckpt").stat().st_mtime_ns == finished
    assert "step 20, " not in log.read_text(encoding="utf-8"), "it continued from its checkpoint"
    assert place.table("killed") == place.table("calm")


def test_a_request_to_stop_ends_every_run(place, here):
    """Test Ctrl-C and SIGTERM, one after the other."""
    runs = place.folder / "stopped" / "runs"
    for name in (signal.SIGINT, signal.SIGTERM):
        process = place.sweep("stopped", "--jobs", 2)
        wait_for(lambda: runs.exists() and any(is_locked(run) for run in runs.iterdir()))
        process.send_signal(name)
        text = finish(process, 1)
        assert "uddm: stopped. The same command continues the sweep." in text
        assert "Traceback" not in text
        assert not any(is_locked(run) for run in runs.iterdir())
    here(*place.words("stopped", "--jobs", 2))
    assert place.table("stopped") == place.table("calm")


def test_two_sweeps_on_one_folder_do_not_spoil_it(place, here):
    """The first one also shows that the numbers do not depend on how many runs train at a time."""
    first = place.sweep("both", "--jobs", 2)
    wait_for(lambda: (place.folder / "both" / "runs").exists())
    text = here(*place.words("both", "--jobs", 1), status=2)
    assert "Another sweep is running" in text
    finish(first)
    assert place.table("both") == place.table("calm")


def test_another_configuration_is_refused_with_its_keys(place, here):
    before = content(place.folder / "calm")
    changed = ("--model.ema_decay", 0.5, "--model.backbone.init_args.hidden_size", 8)
    text = here(*place.words("calm", *changed), status=2)
    assert "`model.ema_decay` is 0.9999 there and 0.5 here" in text.replace("now", "here")
    assert "`model.backbone.init_args.hidden_size` is 16 there and 8" in text
    assert content(place.folder / "calm") == before


def test_a_run_that_fails_is_shown_with_its_log(place, here):
    for name, rate in (("good", 0.01), ("bad", 1e30)):
        fragment = {
            "model": {
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": rate}},
                "lr_schedule": {"class_path": "WarmupConstant", "init_args": {"warmup_steps": 0}},
            }
        }
        (place.folder / f"{name}.yaml").write_text(yaml.safe_dump(fragment), encoding="utf-8")
    files = ("--backbone", "bad.yaml", "--backbone", "good.yaml")
    words = ("sweep", "-c", place.config, "--out", "mixed", "--page-only", "--sizes", "8", *files)
    text = here(*words, status=1)
    assert "bad-n8-s0 FAILED: ended with status 1" in text
    assert "uddm: stopped: The loss is NaN or infinite" in text
    assert b"good-n8-s0" in place.table("mixed")


def test_cores_and_gpus_are_never_assigned_twice(tmp_path, monkeypatch):
    """Test the launcher with programs that sleep."""
    environments = []

    class Sleeping:
        def __init__(self, run, environment):
            environments.append(environment)
            self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.4)"])
            self.status = self.process.poll

    monkeypatch.setattr(local, "ForkedRun", Sleeping)
    monkeypatch.setattr(local, "find_gpus", lambda: [local.Gpu(str(index), 80 * 10**9) for index in range(3)])

    def most(launcher, threads, gpus, jobs=5):
        runs = [SweepRun("DiT", size, 0, tmp_path, (), 1, threads, max(1, gpus), gpus) for size in range(1, jobs + 1)]
        launcher.submit(runs)
        seen, ended = 0, []
        while len(ended) < len(runs):
            seen = max(seen, len(launcher.running()))
            ended += launcher.poll()
            time.sleep(0.01)
        assert {outcome.status for outcome in ended} == {0}
        return seen

    launcher = LocalLauncher()
    launcher.cores = 4
    assert most(launcher, threads=1, gpus=0) == 4
    assert most(launcher, threads=2, gpus=0) == 2
    assert most(launcher, threads=9, gpus=0, jobs=2) == 1
    assert most(LocalLauncher(jobs=1), threads=1, gpus=0, jobs=2) == 1
    environments.clear()
    assert most(launcher, threads=4, gpus=1) == 3
    assert {env["CUDA_VISIBLE_DEVICES"] for env in environments} == {"0", "1", "2"}
    environments.clear()
    assert most(launcher, threads=1, gpus=2, jobs=2) == 1
    assert all(len(env["CUDA_VISIBLE_DEVICES"].split(",")) == 2 for env in environments)
