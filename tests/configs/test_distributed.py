"""The fragments for many processes, with two on this machine: started by torchrun, and by srun of a one-node SLURM."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.command_line import anonymous_table
from tests.support.slurm_cluster import missing, slurm_cluster

FRAGMENTS = Path(__file__).parents[2] / "configs" / "distributed"
HERE = (  # the requirements of the fragments, reduced to this machine
    *("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.num_nodes", "1"),
    *("--trainer.precision", "32-true", "--model.backbone.init_args.dropout", "0"),
)


def finish(command: list[object]) -> None:
    done = subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fit(config: Path, fragment: str, run: Path) -> list[object]:
    return ["-m", "uddm_lightning", "fit", "-c", config, "-c", FRAGMENTS / fragment, *HERE, "--out", run]


def counts(run: Path) -> list[list[str]]:
    columns = ("step", "split", "t", "n_rows", "n_draws", "n_corrupted", "n_clean")
    return [[row[column] for column in columns] for row in anonymous_table(run)]


def draws(run: Path) -> list[dict[str, object]]:
    names = ["metric", "split", "step", "t", "row_id", "document", "draw", "corrupted", "clean", "count"]
    return pq.read_table(run / "rows.parquet", columns=names).to_pylist()


@pytest.mark.slow
def test_torchrun_starts_two_processes_that_train_one_model(uddm: Any, config: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    finish([*launcher, *fit(config, "torchrun.yaml", tmp_path / "two")])
    alone = ("--trainer.devices", 1, "--trainer.strategy", "auto")
    outcome = uddm(*fit(config, "torchrun.yaml", tmp_path / "one")[2:], *alone)
    assert outcome.status == 0, outcome.err
    assert counts(tmp_path / "two") == counts(tmp_path / "one")
    assert draws(tmp_path / "two") == draws(tmp_path / "one"), "of all ranks"
    for row, other in zip(anonymous_table(tmp_path / "two"), anonymous_table(tmp_path / "one"), strict=True):
        if row["nelbo"]:
            assert float(row["nelbo"]) == pytest.approx(float(other["nelbo"]), rel=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing() or "SLURM is there")
def test_srun_starts_two_tasks_that_train_one_model(
    config_on_the_way: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))
    with slurm_cluster():
        srun = ["srun", "--nodes", 1, "--ntasks-per-node", 2, "--time", 5, sys.executable]
        finish([*srun, *fit(config_on_the_way, "slurm.yaml", tmp_path / "two")])
    rows = anonymous_table(tmp_path / "two")
    assert {row["step"] for row in rows} == {"3", "6"}
    assert {row["n_draws"] for row in rows if row["metric"] == "recovery"} == {"16"}
    assert (tmp_path / "two" / "checkpoints" / "last.ckpt").exists()
