"""Runs that begin in a process where everything is imported already.

To import torch and Lightning takes as long as hundreds of steps of a small network. `multiprocessing` keeps a server
that has done so once, computes nothing itself, and is forked for each run.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType

from uddm_lightning.cli.main import main
from uddm_lightning.core.console import make_enduring
from uddm_lightning.sweeps.sweep_run import SweepRun

PRELOADED = ["uddm_lightning.cli", "uddm_lightning.cli.lightning"]

# What libraries read while they are imported, when it is too late for a run to say so: the server has no threads, which
# a fork would lose (a run sets their number itself), and bars are not drawn into logs.
IMPORTED_UNDER = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


class ForkedRun:
    """A run as a process of its own, in a session of its own, that ends with this one; it prints to the run's log.

    Args:
        run: what to train.
        environment: variables to set in it, beside those of `SweepRun.environment`.
    """

    def __init__(self, run: SweepRun, environment: Mapping[str, str]) -> None:
        serve()
        run.log.parent.mkdir(parents=True, exist_ok=True)
        # ranks of a run start as the command does, each with its own interpreter
        alone = run.processes == 1
        arguments = (run.arguments(), {**run.environment(), **environment}, run.log, alone)
        self._process = ForkServerProcess(target=_run, args=arguments)
        with _without_main():
            self._process.start()

    def status(self) -> int | None:
        """Exit status; negative where a signal ended the run, None while it lasts."""
        return self._process.exitcode

    def signal(self, number: int) -> None:
        """Sends a signal to all processes of the run."""
        pid = self._process.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            try:
                os.killpg(pid, number)
            except ProcessLookupError:  # so young that it has no session yet
                os.kill(pid, number)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide `__main__` from `multiprocessing`, which would run the calling script again in the new process.

    So a script may call `sweep` without `if __name__ == "__main__"`.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def serve() -> None:
    """Starts the server, if it does not run yet, and returns before it has imported everything."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    before = {name: os.environ.get(name) for name in IMPORTED_UNDER}
    os.environ.update(IMPORTED_UNDER)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: Path, alone: bool) -> None:
    os.setsid()  # so that Ctrl-C reaches the sweep alone, which then ends its runs in order
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    if not alone:
        os.environ["UDDM_PARENT"] = str(os.getppid())  # the server, which ends with the sweep
        command = [sys.executable, "-m", "uddm_lightning", *arguments]
        os.execv(sys.executable, command)  # noqa: S606 the arguments are this package's own
    make_enduring()
    sys.exit(main(list(arguments)))
