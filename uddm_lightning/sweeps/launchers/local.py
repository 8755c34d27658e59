"""Launcher on this machine: as many runs at a time as its cores and the memory of its GPUs allow."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.launchers.base import Launcher, Outcome
from uddm_lightning.sweeps.launchers.forked_run import ForkedRun, serve
from uddm_lightning.sweeps.sweep_run import SweepRun

GRACE = 10.0  # seconds between SIGTERM and SIGKILL when runs are stopped


SHARED_MEMORY = 0.95  # share of a GPU's memory that several runs may take together


@dataclass
class Gpu:
    """A GPU of this machine and what its runs take.

    Attributes:
        name: its name in CUDA_VISIBLE_DEVICES.
        memory: its bytes.
        used: bytes of the runs on it, as estimated.
        runs: number of runs on it.
    """

    name: str
    memory: int
    used: int = 0
    runs: int = 0

    def fits(self, size: int) -> bool:
        """Return whether a run of this size can begin; an unused GPU takes any run."""
        return not self.runs or self.used + size <= SHARED_MEMORY * self.memory

    def take(self, size: int) -> None:
        """Add a run."""
        self.used += size
        self.runs += 1

    def release(self, size: int) -> None:
        """Remove a run."""
        self.used -= size
        self.runs -= 1


class _Running(NamedTuple):
    run: SweepRun
    process: ForkedRun
    gpus: list[Gpu]


class LocalLauncher(Launcher):
    """Trains each run in its own process. All runs together use at most the cores and GPUs of this machine.

    The number of threads of a run comes from its config, because results depend on it. It determines how many runs
    fit at a time. Runs share a GPU as far as its memory and the cores allow, because one small run leaves it idle; each
    run begins on the GPU with the most free memory. A run whose memory is unknown has its GPUs for itself.

    Args:
        jobs: largest number of runs at a time; None starts as many as fit.
        gpu_memory_gb: memory of a run on each of its GPUs in gigabytes; None takes the estimate of `uddm preflight`.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(self, jobs: int | None = None, gpu_memory_gb: float | None = None) -> None:
        super().__init__(jobs)
        if gpu_memory_gb is not None and not gpu_memory_gb > 0:
            raise InputError(f"`gpu_memory_gb` must be above 0, got {gpu_memory_gb}.")
        serve()  # the server imports while the sweep is prepared
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.gpu_memory_gb = gpu_memory_gb
        self._waiting: list[SweepRun] = []
        self._running: list[_Running] = []
        self._gpus = find_gpus()

    @override
    def on_cpu(self, accelerator: str) -> bool:
        import torch  # see `gpus`

        return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())

    @override
    def submit(self, runs: Sequence[SweepRun]) -> None:
        for run in runs:
            if run.gpus > len(self._gpus):
                raise InputError(
                    f"`trainer.devices` asks for {run.gpus} GPU(s) for a run, and this machine has {len(self._gpus)}. "
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
                for gpu in one.gpus:
                    gpu.release(self._memory(one.run, gpu))
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

    def _memory(self, run: SweepRun, gpu: Gpu) -> int:
        """Return the bytes that a run takes on a GPU."""
        if self.gpu_memory_gb is not None:
            return round(1e9 * self.gpu_memory_gb)
        return gpu.memory if run.gpu_memory is None else run.gpu_memory

    def _place(self, run: SweepRun) -> list[Gpu] | None:
        """Return the GPUs on which a run can begin now; None if it has to wait."""
        if self._running and self.jobs is not None and len(self._running) >= self.jobs:
            return None
        free_first = sorted(self._gpus, key=lambda gpu: gpu.used - gpu.memory)
        gpus = [gpu for gpu in free_first if gpu.fits(self._memory(run, gpu))][: run.gpus]
        if len(gpus) < run.gpus:
            return None
        # an unused GPU takes a run although the cores are in use, because it would be idle without one
        shares = not gpus or any(gpu.runs for gpu in gpus)
        used = sum(one.run.cores for one in self._running)
        return None if self._running and shares and used + run.cores > self.cores else gpus

    def _start(self) -> None:
        for run in list(self._waiting):
            gpus = self._place(run)
            if gpus is None:
                return
            if run.busy():  # another process is training it: try again later
                continue
            self._waiting.remove(run)
            for gpu in gpus:
                gpu.take(self._memory(run, gpu))
            environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpu.name for gpu in gpus)} if gpus else {}
            self._running.append(_Running(run, ForkedRun(run, environment), gpus))


def find_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use."""
    import torch  # slow to import, and not needed if runs are trained on other machines

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(index) for index in range(count)]
    return [Gpu(name.strip(), torch.cuda.get_device_properties(index).total_memory) for index, name in enumerate(names)]
