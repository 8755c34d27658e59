"""Estimated time, memory and price of runs and sweeps on a GPU."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.benchmarks import accelerator
from tests.benchmarks.accelerator_case import Row
from uddm_lightning.cli.resolve import resolve
from uddm_lightning.commands.preflight import preflight
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.costs import SweepRuns, gpu_lines
from uddm_lightning.preflight.gpu_estimate import H100, GpuSpeed, estimate_run, read_speed, smallest_gpu_memory

V = 30_522
TINY = ["-c", "paper/lm1b_tiny", "--trainer.precision", "bf16-mixed"]
SLOW = GpuSpeed("slow", 1e12, ((256, 0.5), (768, 0.5)), 0.001, "a test")


@pytest.fixture(scope="module")
def tiny():
    return resolve(TINY).values


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


def test_lines(tiny):
    run = estimate_run(tiny, V, SLOW)._replace(gpu_hours=2.0)
    wide = run._replace(gpu_hours=10.0)
    found = dict(gpu_lines(run, [SweepRuns(54, run), SweepRuns(54, wide)], SLOW, 3.0))
    assert found["sweep"] == "108 runs, about 648 slow hours, estimated as above"
    assert found["price"] == "about 6 for the run, 1,944 for the sweep, at 3 for a GPU hour"
    assert list(dict(gpu_lines(run, [], SLOW, None))) == ["GPU memory", "GPU time"]
    assert list(dict(gpu_lines(run, [SweepRuns(2, None)], SLOW, None))) == ["GPU memory", "GPU time"]
    assert "not limited" in dict(gpu_lines(run._replace(gpu_hours=None), [], SLOW, 1.0))["GPU time"]


def printed(capsys, *arguments: str) -> dict[str, str]:
    assert preflight([*TINY, *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: value for name, _, value in (line.partition("  ") for line in lines)}


def test_the_paper_s_sweep(capsys):
    found = printed(capsys, "-c", "paper/sweep", "--price", "2.5")
    hours = estimate_run(resolve(TINY).values, V).gpu_hours
    assert f"about {hours:.3g} H100 hours, estimated without measurements; " in found["GPU time"]
    assert "TFLOP at 8.2% of 798 TFLOP/s" in found["GPU time"]
    assert found["sweep"].strip() == f"54 runs, about {54 * hours:,.0f} H100 hours, estimated as above"
    assert f"{54 * hours * 2.5:,.0f} for the sweep, at 2.5 for a GPU hour" in found["price"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tiny", "small", "medium"])
def test_hours_in_the_documentation(network):
    config = resolve(["-c", f"paper/lm1b_{network}", "--trainer.precision", "bf16-mixed"]).values
    run = estimate_run(config, V, gpu_memory=H100.memory)
    found = dict(gpu_lines(run, [SweepRuns(54, run)], H100, None))
    one, sweep = (re.search(r"([\d.,]+ H100 hours)", found[name])[1] for name in ("GPU time", "sweep"))
    memory = re.search(r"([\d.]+ GB)", found["GPU memory"])[1]
    text = (Path(__file__).parents[2] / "configs" / "README.md").read_text(encoding="utf-8")
    assert f"| `paper/lm1b_{network}` | {one} | {sweep} | {memory}" in text
    if network == "tiny":
        assert sweep in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sizes_and_seeds_multiply(capsys):
    assert printed(capsys, "--sizes", "0.1,0.5,1.0", "--seeds", "0,1")["sweep"].strip().startswith("6 runs,")
    assert printed(capsys, "--sizes", "auto", "--budget", "5")["sweep"].strip().startswith("5 runs,")
    assert printed(capsys, "--sizes", "2:512:x4")["sweep"].strip().startswith("5 runs,")
    assert printed(capsys)["sweep"].strip().startswith("12 runs,"), "2 to 7.15 million rows"


def test_wrong_values(tmp_path: Path):
    with pytest.raises(InputError, match=r"`--price -1\.0` must be at least 0"):
        preflight([*TINY, "--price", "-1"])
    with pytest.raises(InputError, match="invalid float value"):
        preflight([*TINY, "--price", "much"])
    with pytest.raises(InputError, match="not a complete table"):
        preflight([*TINY, "--benchmark", str(tmp_path / "none.csv")])
