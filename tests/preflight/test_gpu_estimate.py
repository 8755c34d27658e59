"""Estimated time, memory and price of runs and sweeps on a GPU."""

from types import SimpleNamespace

import pytest
import torch

from tests.benchmarks import accelerator
from tests.benchmarks.accelerator_case import Row
from tests.preflight.conftest import SLOW, V
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.gpu_estimate import H100, GpuSpeed, estimate_run, read_speed, smallest_gpu_memory


def changed(config, section, **values):
    return {**config, section: {**config[section], **values}}


def test_hours_follow_from_operations_and_speed(tiny):
    estimate = estimate_run(tiny, V, SLOW)
    assert estimate.step_flops == pytest.approx(512 * 11.24e9, rel=0.001)
    assert estimate.step_seconds == pytest.approx(estimate.step_flops / 0.5e12)
    assert estimate.gpu_hours == pytest.approx(1_000_000 * estimate.step_seconds / 3600)
    assert estimate_run(changed(tiny, "trainer", precision="32-true"), V, SLOW).step_seconds == pytest.approx(
        2 * estimate.step_seconds
    )
    assert estimate_run(changed(tiny, "trainer", max_steps=-1), V, SLOW).gpu_hours is None


def test_several_gpus_share_the_rows_of_a_step(tiny):
    one = estimate_run(tiny, V, SLOW)
    two = estimate_run(changed(tiny, "trainer", accelerator="gpu", devices=2), V, SLOW)
    assert two.step_seconds == pytest.approx(one.step_seconds / 2)
    assert two.gpu_hours == pytest.approx(one.gpu_hours)
    parts = estimate_run(changed(tiny, "trainer", accumulate_grad_batches=4), V, SLOW)
    assert parts.step_seconds == pytest.approx(one.step_seconds)
    assert parts.memory < one.memory / 3


def test_launches_limit_small_steps():
    config = resolve(["-c", "quickstart"]).values
    assert estimate_run(config, 27, H100).step_seconds == H100.shortest_step
    assert estimate_run(config, 27, H100).gpu_hours == pytest.approx(2000 * 0.010 / 3600)


def test_the_share_lies_between_the_measured_ones():
    speed = GpuSpeed("", 1.0, ((256, 0.1), (768, 0.3)), 0.0, "")
    assert [speed.share(width) for width in (64, 256, 512, 768, 1024)] == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.3])


@pytest.mark.parametrize(("network", "rows", "measured"), [("tiny", 256, 8.1), ("small", 128, 13.0)])
def test_memory_is_not_below_the_measured_one(network, rows, measured):
    """Measured on one H100 with chunks of 2^28 logits; memory of CUDA itself was not counted."""
    config = resolve(["-c", f"paper/lm1b_{network}", "--trainer.precision", "bf16-mixed"]).values
    estimate = estimate_run(changed(config, "data", batch_size=rows), V, gpu_memory=8 * 24 * 2**28)
    assert measured < (estimate.memory - 600_000_000) / 2**30 < 1.4 * measured


def test_the_smallest_gpu_counts(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert smallest_gpu_memory() is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    sizes = [SimpleNamespace(total_memory=size) for size in (80, 24)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", sizes.__getitem__)
    assert smallest_gpu_memory() == 24


def test_speed_of_a_table(tmp_path):
    rows = [
        Row("machine", "GPU 7"),
        Row("products", "bfloat16", 1.0, 1.0, 1.0, flops=400e12, dtype="bfloat16"),
        Row("training step, tiny, 256 rows", "ours, compiled", 1.0, 1.0, 1.0, flops=100e12, dtype="bfloat16"),
        Row("quickstart step", "ours, uddm fit", 0.002),
    ]
    accelerator.write(tmp_path / "gpu.csv", rows)
    with pytest.raises(InputError, match=r"`--benchmark .*gpu\.csv` is not a complete table .*small, 128"):
        read_speed(tmp_path / "gpu.csv")
    small = Row("training step, small, 128 rows", "ours, compiled", 1.0, 1.0, 1.0, flops=200e12, dtype="bfloat16")
    accelerator.write(tmp_path / "gpu.csv", [*rows, small])
    speed = read_speed(tmp_path / "gpu.csv")
    assert speed[:4] == ("GPU 7", 400e12, ((256, 0.25), (768, 0.5)), 0.002)
    with pytest.raises(InputError, match="not a complete table"):
        read_speed(tmp_path / "missing.csv")
