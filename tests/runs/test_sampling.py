"""The same file for any number of processes and batches, and after interruptions."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.runs.conftest import arguments
from uddm_lightning.cli.main import main
from uddm_lightning.runs import sampling
from uddm_lightning.runs.run import Run
from uddm_lightning.runs.sampling import SamplingJob


@pytest.mark.parametrize("batch_size", [1, 5, 8])
def test_the_file_does_not_depend_on_the_batch_size(sampled, tmp_path, batch_size):
    sampled(tmp_path / "one.parquet", 19)
    sampled(tmp_path / "other.parquet", 19, "--batch_size", batch_size)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_more_samples_continue_the_existing_ones_and_fewer_are_read(sampled, tmp_path, monkeypatch):
    sampled(tmp_path / "whole.parquet", 21)
    sampled(tmp_path / "grown.parquet", 12)
    asked = []
    real = Run.sample_ids

    def watched(self, numbers_B, seed):
        asked.extend(numbers_B.tolist())
        return real(self, numbers_B, seed)

    monkeypatch.setattr(Run, "sample_ids", watched)
    sampled(tmp_path / "grown.parquet", 21)
    assert asked == list(range(12, 21))
    assert (tmp_path / "grown.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    out = sampled(tmp_path / "grown.parquet", 5)
    assert asked == list(range(12, 21))
    assert out.startswith("5 samples in")


def test_a_shard_of_another_process_is_waited_for(run, tmp_path, monkeypatch):
    order = SamplingJob(run / "config.yaml", "last", None, None, "ema", 0, 4, tmp_path / "s.parquet", 20)
    drawing = order.load()
    mine = order.shards(drawing)
    drawn, waits = [], []
    held = mine.lock(1)
    held.acquire()

    def wait(seconds):
        waits.append(seconds)
        held.release()

    monkeypatch.setattr(sampling, "time", SimpleNamespace(sleep=wait))  # other threads sleep as before
    sampling.fill_shards(order, drawing, drawn.append)
    assert sum(drawn) == 20
    assert len(waits) == 1


COUNT = 700  # three shards


def command(words, environment):
    os.environ.update(environment)
    sys.exit(main(words))


def start(textless, file, *more):
    """Start the command in a process forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["uddm_lightning.sweeps.launchers.preloaded", "uddm_lightning.commands.sample"])
    words = [str(word) for word in arguments(textless / "run", file, COUNT, *more)]
    process = context.Process(target=command, args=(words, {"UDDM_CACHE": str(textless / "cache")}))
    process.start()
    return process


def finish(process):
    process.join(300)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def reference(textless, tmp_path_factory):
    """The samples of one process without interruption."""
    file = tmp_path_factory.mktemp("reference") / "s.parquet"
    finish(start(textless, file))
    return file.read_bytes()


@pytest.mark.slow
def test_several_processes_and_several_commands_write_the_same_file(textless, reference, tmp_path):
    for process in [start(textless, tmp_path / "s.parquet", "--processes", 2), start(textless, tmp_path / "s.parquet")]:
        finish(process)
    assert (tmp_path / "s.parquet").read_bytes() == reference
    assert list(tmp_path.iterdir()) == [tmp_path / "s.parquet"]


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_file(textless, reference, tmp_path):
    file, parts = tmp_path / "s.parquet", tmp_path / "s.parquet.parts"
    for moment, sight in enumerate(("*.lock", "000000.parquet", "000001.parquet")):
        process = start(textless, file, "--batch_size", 4 + moment)
        deadline = time.monotonic() + 120
        while process.is_alive() and not list(parts.glob(sight)):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not file.exists()
    finish(start(textless, file, "--processes", 3))
    assert file.read_bytes() == reference
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_workers_end_with_the_command_that_started_them(textless, tmp_path):
    parts = tmp_path / "s.parquet.parts"
    process = start(textless, tmp_path / "s.parquet", "--processes", 2, "--batch_size", 1)
    deadline = time.monotonic() + 120
    while len(list(parts.glob("*.lock"))) < 2:
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.005)
    [server] = [child for child in children(process.pid) if children(child)]
    workers = children(server)
    assert len(workers) == 2
    process.kill()
    process.join()
    deadline = time.monotonic() + 60
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives the command"
        time.sleep(0.05)


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def alive(pid):
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_a_worker_that_fails_is_reported(sampled, tmp_path, monkeypatch):
    monkeypatch.setattr("uddm_lightning.runs.sampling.fill_in_processes", lambda *_: False)
    message = sampled(tmp_path / "s.parquet", 4, "--processes", 2, status=1)
    assert "The same command continues from here" in message
