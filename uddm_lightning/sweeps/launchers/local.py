"""Launcher on this machine: as many runs at a time as its cores or GPUs allow."""

import os
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.launchers.base import Launcher, Outcome
from uddm_lightning.sweeps.launchers.forked_run import ForkedRun, serve
from uddm_lightning.sweeps.sweep_run import SweepRun

GRACE = 10.0  # seconds between SIGTERM and SIGKILL when runs are stopped


class _Running(NamedTuple):
    run: SweepRun
    process: ForkedRun
    gpus: list[int]


class LocalLauncher(Launcher):
    """Trains each run in its own process. All runs together use at most the cores and GPUs of this machine.

    The number of threads of a run comes from its config, because results depend on it. It determines how many runs
    fit at a time. A run on GPUs does not share them.

    Args:
        jobs: largest number of runs at a time; None starts as many as fit.
    """

    def __init__(self, jobs: int | None = None) -> None:
        super().__init__(jobs)
        serve()  # the server imports while the sweep is prepared
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._waiting: list[SweepRun] = []
        self._running: list[_Running] = []
        self._gpus = gpus()
        self._all_gpus = len(self._gpus)

    @override
    def on_cpu(self, accelerator: str) -> bool:
        import torch  # see `gpus`

        return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())

    @override
    def submit(self, runs: Sequence[SweepRun]) -> None:
        for run in runs:
            if run.gpus > self._all_gpus:
                raise InputError(
                    f"`trainer.devices` asks for {run.gpus} GPU(s) for a run, and this machine has {self._all_gpus}. "
                    "Choose `--trainer.accelerator cpu`, fewer devices, or `--launcher slurm`."
                )
        self._waiting += runs
        self._start()

    @override
    def poll(self) -> list[Outcome]:
        outcomes, running = [], []
        for one in self._running:
            status = one.process.status()
            if status is None:
                running.append(one)
            else:
                outcomes.append(Outcome(one.run, status))
                self._gpus += one.gpus
        self._running = running
        self._start()
        return outcomes

    @override
    def running(self) -> list[SweepRun]:
        return [one.run for one in self._running]

    @override
    def stop(self) -> None:
        self._waiting = []
        for name in (signal.SIGTERM, signal.SIGKILL):
            for one in self._running:
                one.process.signal(name)
            deadline = time.monotonic() + GRACE
            while self._running and time.monotonic() < deadline:
                self._running = [one for one in self._running if one.process.status() is None]
                time.sleep(0.05)
        self._running = []

    def _fits(self, run: SweepRun) -> bool:
        if not self._running:
            return True
        if self.jobs is not None and len(self._running) >= self.jobs:
            return False
        used = sum(one.run.cores for one in self._running)
        return len(self._gpus) >= run.gpus if run.gpus else used + run.cores <= self.cores

    def _start(self) -> None:
        for run in list(self._waiting):
            if not self._fits(run):
                return
            if run.busy():  # another process is training it: try again later
                continue
            self._waiting.remove(run)
            gpus, self._gpus = self._gpus[: run.gpus], self._gpus[run.gpus :]
            environment = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if gpus else {}
            self._running.append(_Running(run, ForkedRun(run, environment), gpus))


def gpus() -> list[int]:
    """Return the numbers of the GPUs of this machine."""
    import torch  # slow to import, and not needed if runs are trained on other machines

    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
