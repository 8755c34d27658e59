"""Start runs of `uddm` in real processes with any number of ranks.

`python -m tests.support.ranks JOBS` imports everything once and forks the processes of
them. A process may write down what it trains on; at a chosen moment it may kill itself, fill its disk or delete its
cache.
"""

import ctypes
import io
import json
import multiprocessing
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from multiprocessing import connection
from pathlib import Path
from typing import Any, NoReturn

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
        event: a moment, its number, an act and the folder that it concerns: ("step", 17, "kill", ""), ("validation", 3
            (third batch), "delete", cache), ("saving", 2 (second checkpoint), "fill", disk). "within saving" is while
            torch writes.
        stdout: "log" is one file with stderr; "file" is one without; "terminal" is one that both go to; "head" is a
            pipe whose reader leaves after the first line; "ascii" is a file to which nothing else can be written;
            "none" is closed.
        status: exit status of each rank, once it has ended; minus the signal's number if it was killed.
        out: what each rank has printed.
    """

    name: str
    arguments: list[str]
    world: int = 1
    record: str = ""
    event: list[Any] = field(default_factory=list)
    stdout: str = "log"
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
    subprocess.run([sys.executable, "-m", "tests.support.ranks", str(listed)], env=environment, check=True, timeout=580)
    for job, status in zip(jobs, json.loads(listed.read_text(encoding="utf-8")), strict=True):
        job.status = status
        job.out = [log.read_text(encoding="utf-8") for log in _logs(folder, job)]
        assert not well or status == [0] * job.world, f"{job.name}: {status}\n" + "\n".join(
            out[-1500:] for out in job.out
        )
    return list(jobs)


class Parent:
    """A process that has imported everything once, and forks the jobs of one process that any thread asks for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.context = multiprocessing.get_context("forkserver")
        # what a run imports when it needs it, too
        self.context.set_forkserver_preload(["uddm_lightning.cli", "uddm_lightning.commands.sweep", "pandas"])

    def run(self, folder: Path, job: Job) -> Job:
        """Runs a job and fills in how it ended; its log lies in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (log,) = _logs(folder, job)
        process = self.context.Process(target=_begin, args=(job, 0, 0, log))
        with self.lock:  # a start asks all processes how they ended, and only the first to ask is told
            process.start()
        connection.wait([process.sentinel])
        with self.lock:
            process.join()
        assert process.exitcode is not None
        job.status, job.out = [process.exitcode], [log.read_text(encoding="utf-8")]
        return job


def _logs(folder: Path, job: Job) -> list[Path]:
    return [folder / f"{job.name}.{rank}.log" for rank in range(job.world)]


def main() -> None:
    """Starts the jobs of the file named on the command line and replaces it by their exit statuses."""
    import uddm_lightning.cli.lightning  # noqa: F401 the children inherit what is imported here

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
    if not (pid := os.fork()):
        _begin(job, rank, port, log)
    return pid


def _begin(job: Job, rank: int, port: int, log: Path) -> NoReturn:
    status = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell takes it from what runs in the background
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if job.stdout in ("terminal", "head"):
            status = _watched(output, job, partial(_rank, job, rank, port))
        else:
            errors = output if job.stdout == "log" else os.open(f"{log}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(errors, 2)
            status = _rank(job, rank, port)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for worker in multiprocessing.active_children():
            worker.terminate()
        os._exit(status)


def _watched(log: int, job: Job, work: Callable[[], int]) -> int:
    """Runs in a process of its own, whose terminal or pipe is copied to the log here."""
    if job.stdout == "terminal":
        pid, end = pty.fork()
    else:
        end, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            os.dup2(theirs, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.close(theirs)
    if not pid:
        if job.stdout == "terminal":
            sys.stdout.reconfigure(line_buffering=True)  # as at the start of a process with a terminal
        os._exit(_flushed(work))
    with suppress(OSError):  # reading from a pty fails once its other end is closed
        while data := os.read(end, 2**16):
            os.write(log, data)
            if job.stdout == "head" and b"\n" in data:
                break
    os.close(end)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _flushed(work: Callable[[], int]) -> int:
    try:
        return work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _rank(job: Job, rank: int, port: int) -> int:
    """What a process does after the fork; returns its exit status."""
    import traceback

    from uddm_lightning.core.console import make_enduring

    if job.stdout == "ascii":
        sys.stdout.reconfigure(encoding="ascii", errors="strict")
    if job.stdout == "none":
        os.close(1)
        sys.stdout = None
    make_enduring()

    from lightning.pytorch.utilities import rank_zero_only

    from uddm_lightning.cli.main import main as uddm

    if job.world > 1:  # the names under which torchrun tells a process who it is
        about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job.world, "LOCAL_WORLD_SIZE": job.world}
        about |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": job.name}
        os.environ.update({name: str(value) for name, value in about.items()})
        rank_zero_only.rank = rank  # Lightning looks once, when it is imported
    try:
        recorder = Recorder() if job.record else None
        if job.event:
            moment, turn, act, folder = job.event
            MOMENTS[moment](turn, partial(ACTS[act], folder))
        status = uddm(job.arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
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

        from uddm_lightning.processes import UniformProcess
        from uddm_lightning.training.loss_guard import LossGuard
        from uddm_lightning.training.task import DiffusionTask

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


# What happens at which moment.


def _kill(folder: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupt(folder: str) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _terminate(folder: str) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _fill(disk: str) -> None:
    with suppress(OSError), (Path(disk) / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(2**12))


def _delete(folder: str) -> None:
    shutil.rmtree(folder)


def _give_up_rights(folder: str) -> None:
    """Root may write everywhere; without two of its capabilities, what a folder's owner has forbidden holds for it."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3; this process
    libc.capget(header, rights)
    rights[0] &= ~0b110  # what is in effect: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    if libc.capset(header, rights):
        raise OSError(ctypes.get_errno(), "capset")


def _at_start(turn: int, act: Callable[[], None]) -> None:
    act()


def _at_step(step: int, act: Callable[[], None]) -> None:
    from uddm_lightning.training.task import DiffusionTask

    original = DiffusionTask.training_step

    def training_step(task: Any, batch: Any, batch_idx: int) -> Any:
        if batch.step == step:
            act()
        return original(task, batch, batch_idx)

    DiffusionTask.training_step = training_step


def _in_validation(turn: int, act: Callable[[], None]) -> None:
    from uddm_lightning.training.task import DiffusionTask

    original, turns = DiffusionTask.validation_step, count(1)

    def validation_step(task: Any, *arguments: Any) -> Any:
        if next(turns) == turn:
            act()
        return original(task, *arguments)

    DiffusionTask.validation_step = validation_step


def _while_saving(turn: int, act: Callable[[], None]) -> None:
    import torch

    original, turns = torch.save, count(1)

    def save(content: Any, file: Any) -> None:
        if next(turns) == turn:
            whole = io.BytesIO()
            original(content, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            act()
        original(content, file)

    torch.save = save


def _within_saving(turn: int, act: Callable[[], None]) -> None:
    """While the library itself is writing, which hands its bytes to the file from below Python."""
    import torch

    original, turns = torch.save, count(1)

    class File(io.RawIOBase):
        def __init__(self, file: Any) -> None:
            self.file, self.turns = file, count(1)

        def write(self, data: Any) -> int:
            if next(self.turns) == 5:
                act()
            return int(self.file.write(data))

        def flush(self) -> None:
            self.file.flush()

    def save(content: Any, file: Any) -> None:
        original(content, File(file) if next(turns) == turn else file)

    torch.save = save


MOMENTS = {
    "start": _at_start,
    "step": _at_step,
    "validation": _in_validation,
    "saving": _while_saving,
    "within saving": _within_saving,
}
ACTS = {
    "kill": _kill,
    "interrupt": _interrupt,
    "terminate": _terminate,
    "fill": _fill,
    "delete": _delete,
    "give up rights": _give_up_rights,
}


def parts(content: Any, name: str = "") -> dict[str, Any]:
    """Every tensor and number of a checkpoint, by its place in it."""
    if isinstance(content, dict):
        content = content.items()
    elif isinstance(content, list | tuple):
        content = enumerate(content)
    else:
        return {name: content}
    return {key: value for k, part in content for key, value in parts(part, f"{name}/{k}").items()}


if __name__ == "__main__":
    main()
