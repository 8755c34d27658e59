"""Start runs of `uddm` in real processes with any number of ranks.

`python -m tests.support.ranks` imports everything once and forks the processes of all jobs. A process may record its
training batches; at a chosen moment it may kill itself, fill its disk or delete its cache.
"""

import atexit
import ctypes
import io
import json
import multiprocessing
import os
import pty
import select
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
from functools import cache, partial
from itertools import count
from multiprocessing import connection
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
CORES = 2  # cores that jobs may use at once
PATIENCE = 580  # seconds that a list of jobs may take


@dataclass
class Job:
    """A run to start.

    Attributes:
        name: name of its log files.
        arguments: arguments of `uddm`.
        world: number of processes.
        record: file for the training batches of each rank; the number of the rank is appended.
        event: a moment, its number, an action and its folder: ("step", 17, "kill", ""), ("validation", 3
            (third batch), "delete", cache), ("saving", 2 (second checkpoint), "fill", disk). "within saving" is while
            torch writes.
        stdout: "log" is one file with stderr; "file" is one without stderr; "terminal" is a terminal for both; "head"
            is a pipe whose reader stops after the first line; "ascii" is a file that accepts ASCII only;
            "none" is closed.
        status: exit status of each rank after its end; minus the signal's number if it was killed.
        out: output of each rank.
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
    """Run jobs and set their status and output.

    Args:
        folder: folder of the logs.
        jobs: jobs to run, with the environment and the working folder of this process; jobs of one process run in
            parallel.
        well: whether every job must end with status 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "jobs.json"
    request = {"cwd": os.getcwd(), "environment": dict(os.environ), "jobs": [asdict(job) for job in jobs]}
    listed.write_text(json.dumps(request), encoding="utf-8")
    _serve(listed)
    for job, status in zip(jobs, json.loads(listed.read_text(encoding="utf-8")), strict=True):
        job.status = status
        job.out = [log.read_text(encoding="utf-8") for log in _logs(folder, job)]
        assert not well or status == [0] * job.world, f"{job.name}: {status}\n" + "\n".join(
            out[-1500:] for out in job.out
        )
    return list(jobs)


@cache
def _server() -> subprocess.Popen[str]:
    """Start the process that starts the jobs of all tests of this process: its imports take as long as two runs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "tests.support.ranks"]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, start_new_session=True)
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.communicate()


def _serve(listed: Path) -> None:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write(f"{listed}\n")
        server.stdin.flush()
        answered, _, _ = select.select([server.stdout], [], [], PATIENCE)
        assert answered, "a job hangs"
        assert server.stdout.readline() == f"{listed}\n", "the server has ended"
    except BaseException:  # a job that hangs would block the next test
        _server.cache_clear()
        _end(server)
        raise


class Parent:
    """A process that has imported everything once and forks jobs of one process for any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.context = multiprocessing.get_context("forkserver")
        # includes the lazy imports of a run
        self.context.set_forkserver_preload(
            ["uddm_lightning.sweeps.launchers.preloaded", "uddm_lightning.commands.sweep"]
        )

    def run(self, folder: Path, job: Job) -> Job:
        """Run a job and set its status and output; its log is in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (log,) = _logs(folder, job)
        process = self.context.Process(target=_begin, args=(job, 0, 0, log))
        with self.lock:  # a start collects the exit status of all processes, and only the first caller gets it
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
    """Start the jobs of each file whose path is a line of stdin; replace it by their exit statuses and print its path.

    The children inherit imports, no threads and no results: this process computes nothing.
    """
    import uddm_lightning.sweeps.launchers.preloaded  # noqa: F401 what every run imports

    null = os.open(os.devnull, os.O_RDWR)
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(null, 0)
    os.dup2(null, 1)
    for line in requests:
        listed = Path(line.rstrip("\n"))
        request = json.loads(listed.read_text(encoding="utf-8"))
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        statuses = _run_all(listed.parent, [Job(**job) for job in request["jobs"]])
        listed.write_text(json.dumps(statuses), encoding="utf-8")
        print(listed, file=answers, flush=True)


def _run_all(folder: Path, jobs: list[Job]) -> list[list[int]]:
    waiting, running = list(jobs), dict[int, tuple[Job, int]]()
    for job in jobs:
        job.status = [0] * job.world
    while waiting or running:
        while waiting and _cores(running) + min(waiting[0].world, CORES) <= CORES:
            job, port = waiting.pop(0), _free_port()
            for rank, log in enumerate(_logs(folder, job)):
                running[_fork(job, rank, port, log)] = (job, rank)
        pid, status = os.wait()
        job, rank = running.pop(pid)
        job.status[rank] = os.waitstatus_to_exitcode(status)
    return [job.status for job in jobs]


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
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell disables Ctrl-C for background processes
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
    """Run in a separate process and copy its terminal or pipe to the log."""
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
            sys.stdout.reconfigure(line_buffering=True)  # as for a process that starts with a terminal
        os._exit(_flushed(work))
    with suppress(OSError):  # reading from a pty fails after its other end is closed
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
    """Run the job after the fork and return its exit status."""
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

    if job.world > 1:  # the environment variables of torchrun
        about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job.world, "LOCAL_WORLD_SIZE": job.world}
        about |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": job.name}
        os.environ.update({name: str(value) for name, value in about.items()})
        rank_zero_only.rank = rank  # Lightning reads it at import only
    try:
        recorder = Recorder() if job.record else None
        if job.event:
            moment, turn, act, folder = job.event
            MOMENTS[moment](turn, partial(ACTS[act], folder))
        status = uddm(job.arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # a test reads the log
        traceback.print_exc()
        return 1
    if recorder:
        recorder.write(Path(f"{job.record}.{rank}"))
    return status


class Recorder:
    """Record the training batches of a process from the creation of the task on."""

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
        """Record a micro-batch: positions, rows, times, noisy ids, and the loss of each row."""
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
        """Save all records."""
        import torch

        torch.save(self.batches, path)


# Actions and moments.


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
    """Drop two capabilities of root, so that folder permissions apply to it."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3; this process
    libc.capget(header, rights)
    rights[0] &= ~0b110  # effective capabilities without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
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
    """Act while torch writes the file from C++."""
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
    """Return every tensor and number of a checkpoint by its path."""
    if isinstance(content, dict):
        content = content.items()
    elif isinstance(content, list | tuple):
        content = enumerate(content)
    else:
        return {name: content}
    return {key: value for k, part in content for key, value in parts(part, f"{name}/{k}").items()}


if __name__ == "__main__":
    main()
