"""The contract of a launcher: where and how many at a time the runs of a sweep are trained."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.sweep_run import SweepRun


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        run: which one.
        status: exit status of its run; 0 is success.
        reason: in words, where the status does not tell; else empty.
    """

    run: SweepRun
    status: int
    reason: str = ""


class Launcher(ABC):
    """Trains runs. What a run computes never depends on the launcher, only when and where it does.

    A launcher lets `SweepRun.arguments` decide between starting and going on when the run really begins, does not
    start a run that is finished, and waits while another process is training in its folder (`SweepRun.busy`).

    Args:
        jobs: runs that are trained at a time, at most; None leaves it to the launcher.
    """

    def __init__(self, jobs: int | None = None) -> None:
        if jobs is not None and jobs < 1:
            raise InputError(f"`--jobs` must be at least 1, got {jobs}.")
        self.jobs = jobs

    def check_available(self) -> None:  # noqa: B027 most launchers need nothing
        """Looks, before anything else is prepared, whether runs can be submitted from here.

        Raises:
            InputError: a program or a package is missing.
        """

    def on_cpu(self, accelerator: str) -> bool:
        """Whether a run that asks for this kind of device is surely trained without an accelerator."""
        return accelerator == "cpu"

    @abstractmethod
    def submit(self, runs: Sequence[SweepRun]) -> None:
        """Takes runs to train; returns at once. May be called again while others are running.

        Raises:
            InputError: this machine cannot train them.
        """

    @abstractmethod
    def poll(self) -> list[Outcome]:
        """The runs that ended since the last call, each of them once; returns soon, and keeps the others going."""

    @abstractmethod
    def running(self) -> list[SweepRun]:
        """The runs that are being trained at this moment."""

    @abstractmethod
    def stop(self) -> None:
        """Ends everything that was submitted and has not ended; what is trained can be gone on with later."""
