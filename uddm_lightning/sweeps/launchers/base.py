"""Base class of launchers, which train the runs of a sweep."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.sweeps.sweep_run import SweepRun


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        run: the run.
        status: exit status of the run; 0 is success.
        reason: why it failed, if the status does not say so; otherwise empty.
    """

    run: SweepRun
    status: int
    reason: str = ""


class Launcher(ABC):
    """Trains runs. The results of a run do not depend on the launcher.

    A launcher calls `SweepRun.arguments` when the run begins, so that it starts or continues as needed. It does not
    start a finished run, and it waits while another process is training in the run's folder (`SweepRun.busy`).

    Args:
        jobs: largest number of runs at a time; None lets the launcher decide.
    """

    def __init__(self, jobs: int | None = None) -> None:
        check_at_least(1, "--", jobs=jobs)
        self.jobs = jobs

    def check_available(self) -> None:  # noqa: B027 most launchers need nothing
        """Check whether runs can be submitted from here, before anything else is prepared.

        Raises:
            InputError: a program or a package is missing.
        """

    def on_cpu(self, accelerator: str) -> bool:
        """Return whether a run with this `trainer.accelerator` is certain to train on the CPU."""
        return accelerator == "cpu"

    @abstractmethod
    def submit(self, runs: Sequence[SweepRun]) -> None:
        """Queue runs for training and return at once. It may be called again while others are running.

        Raises:
            InputError: this machine cannot train them.
        """

    @abstractmethod
    def poll(self) -> list[Outcome]:
        """Return the runs that ended since the last call, each once. It does not block, and starts waiting runs."""

    @abstractmethod
    def running(self) -> list[SweepRun]:
        """Return the runs that are being trained."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all submitted runs that have not ended; they can be continued later."""
