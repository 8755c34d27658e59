"""Start runs by forking a server process that has already imported torch and Lightning.

Importing them takes as long as hundreds of steps of a small network. The fork server of `multiprocessing` imports them
once, computes nothing, and is forked for each run.
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

PRELOADED = ["uddm_lightning.sweeps.launchers.preloaded"]

# Libraries read these variables on import, so a run cannot set them. The server must not start threads, which a fork
# would lose (a run sets their number itself). Progress bars would fill the logs.
IMPORTED_UNDER = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


class ForkedRun:
    """A run as a separate process in its own session. It ends with this process and prints to the run's log.

    Args:
        run: the run.
        environment: variables to set in addition to those of `SweepRun.environment`.
    """

    def __init__(self, run: SweepRun, environment: Mapping[str, str]) -> None:
        serve()
        run.log.parent.mkdir(parents=True, exist_ok=True)
        # a run with several ranks starts each of them with its own interpreter, as the command does
        alone = run.processes == 1
        arguments = (run.arguments(), {**run.environment(), **environment}, run.log, alone)
        self._process = ForkServerProcess(target=_run, args=arguments)
        with _without_main():
            self._process.start()

    def status(self) -> int | None:
        """Return the exit status; negative if a signal ended the run, None while it is running."""
        return self._process.exitcode

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the run."""
        pid = self._process.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            try:
                os.killpg(pid, number)
            except ProcessLookupError:  # the process has not created its session yet
                os.kill(pid, number)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide `__main__` from `multiprocessing`, which would run the calling script again in the new process.

    Therefore a script may call `sweep` without `if __name__ == "__main__"`.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def serve() -> None:
    """Start the server unless it is running; return before it has finished its imports."""
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
    os.setsid()  # Ctrl-C reaches only the sweep, which then stops its runs in order
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
