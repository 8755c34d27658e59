"""Runs of `uddm` in real processes, as many ranks as one likes, started in no time.

`python -m tests.cli.ranks JOBS` imports everything once and forks the processes of each job, as torchrun would start
them. A process may write down what it trains on, or kill itself at a chosen moment.
"""

import io
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CORES = 2  # that jobs may keep busy at a time


@dataclass
class Job:
    """One run.

    Attributes:
        name: of its log files.
        arguments: of `uddm`.
        world: processes.
        record: file for what each rank trains on, followed by the number of the rank.
        kill: moment of kill -9: ("step", k), ("validation", n-th batch) or ("saving", n-th checkpoint).
        status: exit status of each rank, once it has ended; minus the signal's number if it was killed.
        out: what each rank has printed.
    """

    name: str
    arguments: list[str]
    world: int = 1
    record: str = ""
    kill: list[Any] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    out: list[str] = field(default_factory=list)


def run(folder: Path, jobs: Sequence[Job], well: bool = True) -> list[Job]:
    """Runs jobs and fills in how they ended.

    Args:
        folder: for logs.
        jobs: what to run; jobs of one process run side by side.
        well: every job must end with status 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "jobs.json"
    listed.write_text(json.dumps([asdict(job) for job in jobs]), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    # a launcher that hangs would take its ranks along
    subprocess.run([sys.executable, "-m", "tests.cli.ranks", str(listed)], env=environment, check=True, timeout=580)
    for job, status in zip(jobs, json.loads(listed.read_text(encoding="utf-8")), strict=True):
        job.status = status
        job.out = [log.read_text(encoding="utf-8") for log in _logs(folder, job)]
        assert not well or status == [0] * job.world, f"{job.name}: {status}\n" + "\n".join(
            out[-1500:] for out in job.out
        )
    return list(jobs)


def _logs(folder: Path, job: Job) -> list[Path]:
    return [folder / f"{job.name}.{rank}.log" for rank in range(job.world)]


def main() -> None:
    """Starts the jobs of the file named on the command line and replaces it by their exit statuses."""
    import uddm_lightning.cli  # noqa: F401 the children inherit what is imported here

    listed = Path(sys.argv[1])
    jobs = [Job(**job) for job in json.loads(listed.read_text(encoding="utf-8"))]
    waiting, running = list(jobs), dict[int, tuple[Job, int]]()
    for job in jobs:
        job.status = [0] * job.world
    while waiting or running:
        while waiting and _cores(running) + min(waiting[0].world, CORES) <= CORES:
            job, port = waiting.pop(0), _free_port()
            for rank, log in enumerate(_logs(listed.parent, job)):
                running[_fork(job, rank, port, log)] = (job, rank)
        pid, status = os.wait()
        job, rank = running.pop(pid)
        job.status[rank] = os.waitstatus_to_exitcode(status)
    listed.write_text(json.dumps([job.status for job in jobs]), encoding="utf-8")


def _cores(running: dict[int, tuple[Job, int]]) -> int:
    return sum(min(job.world, CORES) for job in {job.name: job for job, _ in running.values()}.values())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fork(job: Job, rank: int, port: int, log: Path) -> int:
    if pid := os.fork():
        return pid
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = _rank(job, rank, port)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for worker in multiprocessing.active_children():
            worker.terminate()
        os._exit(status)


def _rank(job: Job, rank: int, port: int) -> int:
    """What a process does after the fork; returns its exit status."""
    import traceback

    from lightning.pytorch.utilities import rank_zero_only

    from uddm_lightning.cli import main as uddm

    if job.world > 1:  # the names under which torchrun tells a process who it is
        about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job.world, "LOCAL_WORLD_SIZE": job.world}
        about |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": job.name}
        os.environ.update({name: str(value) for name, value in about.items()})
        rank_zero_only.rank = rank  # Lightning looks once, when it is imported
    if job.kill:
        _KILLERS[job.kill[0]](int(job.kill[1]))
    recorder = Recorder() if job.record else None
    sys.argv = ["uddm", *job.arguments]
    try:
        status = uddm()
    except BaseException:  # a test reads it in the log
        traceback.print_exc()
        return 1
    if recorder:
        recorder.write(Path(f"{job.record}.{rank}"))
    return status


class Recorder:
    """Writes down what a process trains on: listens to the task from its making on."""

    def __init__(self) -> None:
        from torch.nn import functional

        from uddm_lightning.loss_guard import LossGuard
        from uddm_lightning.processes import UniformProcess
        from uddm_lightning.task import DiffusionTask

        self.batches: list[dict[str, Any]] = []
        self.masks: list[int] = []
        begin, corrupt = DiffusionTask.on_train_batch_start, UniformProcess.corrupt
        watch, dropout = LossGuard.watch, functional.dropout

        def on_train_batch_start(task: Any, batch: Any, batch_idx: int) -> None:
            self.batch, self.masks = batch, []
            begin(task, batch, batch_idx)

        def noised(process: Any, *arguments: Any) -> Any:
            self.noised = corrupt(process, *arguments)
            return self.noised

        def watched(guard: Any, step: int, rows_B: Any, loss_BL: Any) -> None:
            self.note(step, rows_B, loss_BL)
            watch(guard, step, rows_B, loss_BL)

        def dropped(values: Any, *arguments: Any) -> Any:
            result = dropout(values, *arguments)
            if arguments[0]:
                self.masks.append(zlib.crc32((result == 0).numpy().tobytes()))
            return result

        DiffusionTask.on_train_batch_start = on_train_batch_start
        UniformProcess.corrupt = noised
        LossGuard.watch = watched
        functional.dropout = dropped

    def note(self, step: int, rows_B: Any, loss_BL: Any) -> None:
        """One micro-batch: places, rows, times, noisy ids, and the loss of each row."""
        self.batches.append(
            {
                "step": step,
                "places": self.batch.places_B.clone(),
                "rows": rows_B.clone(),
                "t": self.noised.t_B.clone(),
                "xt": self.noised.xt_BL.short(),
                "loss": loss_BL.detach().double().sum(1) / loss_BL.shape[1],
                "masks": self.masks,
            }
        )

    def write(self, path: Path) -> None:
        """Saves everything."""
        import torch

        torch.save(self.batches, path)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(count: int, act: Callable[[], None]) -> Callable[[], None]:
    left = [count]

    def call() -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    return call


def _kill_at_step(step: int) -> None:
    from uddm_lightning.task import DiffusionTask

    original = DiffusionTask.training_step

    def training_step(task: Any, batch: Any, batch_idx: int) -> Any:
        if batch.step == step:
            _kill()
        return original(task, batch, batch_idx)

    DiffusionTask.training_step = training_step


def _kill_in_validation(batch: int) -> None:
    from uddm_lightning.task import DiffusionTask

    original, tick = DiffusionTask.validation_step, _after(batch, _kill)

    def validation_step(task: Any, *arguments: Any) -> Any:
        tick()
        return original(task, *arguments)

    DiffusionTask.validation_step = validation_step


def _kill_while_saving(checkpoint: int) -> None:
    import torch

    original, tick = torch.save, _after(checkpoint, _kill)

    def half(content: Any, file: Any) -> None:
        whole = io.BytesIO()
        original(content, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        tick()
        file.write(whole.getvalue()[len(whole.getvalue()) // 2 :])

    torch.save = half


_KILLERS = {"step": _kill_at_step, "validation": _kill_in_validation, "saving": _kill_while_saving}

if __name__ == "__main__":
    main()
