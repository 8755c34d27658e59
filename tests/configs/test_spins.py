"""Acceptance tests of the config `spins`: from memorizing to generalizing."""

import csv
import json
import sys
from pathlib import Path

import pytest

from tests.configs.test_quickstart import uddm
from tests.support.results import write_results

CONFIG = Path(__file__).parents[2] / "configs" / "spins.yaml"
BARS = "pytest -m bar -n 0 -s tests/configs/test_spins.py"
RECOVERY_ONLY = ("--basin.enabled", "false", "--entropy.enabled", "false", "--samples.enabled", "false")
T = "0.4"


def rows(folder: Path, metric: str, split: str) -> dict[int, dict[str, str]]:
    """Return the rows of the table of a sweep by size, of recovery at t = 0.4."""
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["metric"] == metric and row["split"] == split]
    return {int(row["train_size"]): row for row in found if metric != "recovery" or row["t"] == T}


@pytest.mark.bar
@pytest.mark.timeout(3600)
def test_train_basins_shrink_and_test_basins_grow(tmp_path: Path) -> None:
    """With 2 patterns only train rows are attractors; with 8,192 both kinds have the same basins."""
    uddm("sweep", "-c", CONFIG, "--out", tmp_path, "--jobs", 1)
    train, test = (rows(tmp_path, "basin", split) for split in ("train", "test"))
    few, many = min(train), max(train)
    assert (few, many) == (2, 8192)
    assert float(train[many]["critical_t_high"]) < float(train[few]["critical_t_low"])
    assert float(test[many]["critical_t_low"]) > float(test[few]["critical_t_high"])
    lines = []
    for size in sorted(train):
        line: dict[str, object] = {"train_size": size}
        for split in ("train", "test"):
            for metric, name in (("recovery", "recovery"), ("basin", "critical_t")):
                row = rows(tmp_path, metric, split)[size]
                line |= {f"{split}_{name}{end}": row[f"{name}{end}"] for end in ("", "_low", "_high")}
        lines.append(line)
    write_results("spins.csv", BARS, lines, f"recovery at t = {T}")


@pytest.mark.bar
@pytest.mark.timeout(3600)
def test_the_crossing_moves_with_the_load(tmp_path: Path) -> None:
    """Half of the spins: the gap between train and test patterns halves at fewer patterns, beyond both intervals."""
    lines = []
    for length in (64, 128):  # 16 features in both
        shape = ("--data.source.init_args.length", length, "--data.packing.init_args.length", length)
        memory = ("--model.backbone.init_args.length", length)
        sizes = ("--sizes", "2,8,32,64,128,512,2048", "--jobs", 1)
        uddm("sweep", "-c", CONFIG, "--out", tmp_path / str(length), *shape, *memory, *sizes, *RECOVERY_ONLY)
        transition = json.loads((tmp_path / str(length) / "transition.json").read_text(encoding="utf-8"))
        estimates = transition["backbones"]["PseudoLikelihoodMemory"]["estimates"]
        (found,) = [one for one in estimates if (one["method"], one["t"]) == ("recovery", float(T))]
        lines.append({"spins": length, "deviance_per_df": found["deviance_per_df"], **found["n_half"]})
        sys.stdout.write(f"{lines[-1]}\n")
    write_results("spins_load.csv", BARS, lines, f"N_half of recovery at t = {T}, 16 features")
    small, large = lines
    assert float(small["high"]) < float(large["low"])
