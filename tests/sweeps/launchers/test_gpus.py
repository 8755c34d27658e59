"""Runs share GPUs by memory and cores, with a fake number of GPUs and runs that start no process."""

from types import SimpleNamespace

import pytest
import torch

import uddm_lightning.sweeps.launchers.local as local
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.gpu_estimate import estimate_run
from uddm_lightning.sweeps.launchers import LocalLauncher
from uddm_lightning.sweeps.sweep_run import SweepRun
from uddm_lightning.sweeps.variant import Variant

GB = 10**9


class FakeRun:
    """A run that ends when its status is set."""

    started: list["FakeRun"]

    def __init__(self, run, environment):
        self.run, self.devices = run, environment.get("CUDA_VISIBLE_DEVICES")
        self.value: int | None = None
        FakeRun.started.append(self)

    def status(self):
        return self.value

    def signal(self, number):
        self.value = -number


@pytest.fixture
def machine(monkeypatch):
    """Return a function that gives this machine GPUs of the given memory and a launcher on them."""
    monkeypatch.setattr(local, "ForkedRun", FakeRun)
    monkeypatch.setattr(local, "serve", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    FakeRun.started = []

    def make(*gigabytes, cores=64, **options):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gigabytes))
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda index: SimpleNamespace(total_memory=round(gigabytes[index] * GB)),
        )
        launcher = LocalLauncher(**options)
        launcher.cores = cores
        return launcher

    return make


def devices(launcher, tmp_path, number, memory, gpus=1, threads=1):
    """Submit runs and return the devices of those that begin at once."""
    size = None if memory is None else round(memory * GB)
    runs = [SweepRun("DiT", n, 0, tmp_path, (), 1, threads, max(1, gpus), gpus, size) for n in range(1, number + 1)]
    launcher.submit(runs)
    return [run.devices for run in FakeRun.started if run.value is None]


def test_small_runs_share_a_gpu_up_to_its_memory(machine, tmp_path):
    launcher = machine(80)
    assert devices(launcher, tmp_path, 10, memory=20) == ["0"] * 3, "95 % of the memory"
    FakeRun.started[0].value = 0
    assert [outcome.status for outcome in launcher.poll()] == [0]
    assert len(launcher.running()) == 3, "the next one takes its place"
    for run in FakeRun.started:
        run.value = 0
    assert len(launcher.poll()) == 3
    assert len(launcher.running()) == 3


def test_the_default_number_is_limited_by_the_cores(machine, tmp_path):
    assert devices(machine(80, cores=4), tmp_path, 10, memory=1) == ["0"] * 4


def test_jobs_limit_the_runs_of_a_gpu(machine, tmp_path):
    assert devices(machine(80, jobs=2), tmp_path, 10, memory=1) == ["0"] * 2


def test_runs_are_distributed_over_gpus(machine, tmp_path):
    assert devices(machine(80, 80, cores=5), tmp_path, 10, memory=10) == ["0", "1", "0", "1", "0"]


def test_each_gpu_takes_a_run_although_the_cores_are_in_use(machine, tmp_path):
    assert devices(machine(80, 80, 80, cores=2), tmp_path, 10, memory=10, threads=2) == ["0", "1", "2"]


def test_the_gpu_with_the_most_free_memory_comes_first(machine, tmp_path):
    assert devices(machine(24, 80, cores=4), tmp_path, 4, memory=20) == ["1", "1", "1", "0"]


def test_a_run_that_needs_more_than_a_gpu_has_it_alone(machine, tmp_path):
    assert devices(machine(80), tmp_path, 3, memory=200) == ["0"]


def test_runs_of_unknown_memory_do_not_share(machine, tmp_path):
    assert devices(machine(80, 80), tmp_path, 4, memory=None) == ["0", "1"]


def test_a_run_on_several_gpus_takes_the_same_memory_of_each(machine, tmp_path):
    assert devices(machine(80, 80, 80), tmp_path, 4, memory=50, gpus=2) == ["0,1"]
    launcher = machine(80, 80)
    FakeRun.started = []
    assert devices(launcher, tmp_path, 2, memory=30, gpus=2) == ["0,1", "0,1"]
    with pytest.raises(InputError, match=r"asks for 3 GPU\(s\) for a run, and this machine has 2"):
        devices(launcher, tmp_path, 1, memory=1, gpus=3)


def test_the_memory_can_be_given(machine, tmp_path):
    assert devices(machine(80, gpu_memory_gb=30.0), tmp_path, 5, memory=None) == ["0"] * 2
    with pytest.raises(InputError, match=r"`gpu_memory_gb` must be above 0, got 0"):
        machine(80, gpu_memory_gb=0)


def test_the_visible_devices_of_this_process_are_used(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7a")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=80 * GB))
    launcher = LocalLauncher()
    launcher.cores = 8
    assert devices(launcher, tmp_path, 2, memory=1) == ["5", "GPU-7a"]


def test_runs_on_the_cpu_are_limited_by_cores_alone(machine, tmp_path):
    assert devices(machine(80, cores=3), tmp_path, 5, memory=None, gpus=0) == [None] * 3


def test_stopped_runs_begin_no_others(machine, tmp_path):
    launcher = machine(80)
    devices(launcher, tmp_path, 9, memory=20)
    launcher.stop()
    assert launcher.poll() == []
    assert launcher.running() == []
    assert len(FakeRun.started) == 3


def test_the_memory_of_a_run_is_estimated_from_its_config(machine, config, tmp_path):
    machine(80)
    on_gpu = Variant.of(["-c", str(config), "--trainer.accelerator", "gpu"], None).with_gpu_memory(27)
    estimate = estimate_run(on_gpu.config, 27, gpu_memory=80 * GB)
    assert on_gpu.run(tmp_path, 8, 0).gpu_memory == estimate.memory
    assert 0.6 * GB < estimate.memory < 2 * GB
    on_cpu = Variant.of(["-c", str(config), "--trainer.accelerator", "cpu"], None).with_gpu_memory(27)
    assert on_cpu.run(tmp_path, 8, 0).gpu_memory is None
