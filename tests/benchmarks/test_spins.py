"""The figures of the guide on spins."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.benchmarks.spins import (
    draw_bridge,
    draw_training,
    guaranteed_times,
    rank_correlation,
    stabilities,
    trained,
)
from uddm_lightning.backbones import PseudoLikelihoodMemory
from uddm_lightning.stats.gardner import gardner_margin


def test_rank_correlation() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [2.0, 3.0, 9.0]) == pytest.approx(1.0)
    assert rank_correlation([1.0, 2.0, 3.0], [9.0, 3.0, 2.0]) == pytest.approx(-1.0)
    assert rank_correlation([1.0, 2.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0]) == pytest.approx(0.9487, abs=1e-4)  # ties


def test_learned_margins_stay_below_gardner_s_bound() -> None:
    """60 spins at half load; margins of so few spins exceed the limit of many by at most some tenths."""
    rows = torch.randint(2, (30, 60), generator=torch.Generator().manual_seed(0))
    backbone = trained(rows, steps=200)
    smallest = stabilities(backbone, rows).min(0)
    assert 0.4 < np.median(smallest) < gardner_margin(0.5) + 0.1
    spins, couplings = 2.0 * rows[3].double() - 1, backbone.couplings().detach().double()
    by_hand = float(spins[7] * (couplings[7] * spins).sum() / (couplings[7] ** 2).sum().sqrt())
    assert stabilities(backbone, rows)[3, 7] == pytest.approx(by_hand)


def test_guaranteed_noise_turns_as_many_spins_as_the_margins_allow() -> None:
    backbone = PseudoLikelihoodMemory(2, length=5)
    backbone.weight.data.fill_(1.0)
    assert guaranteed_times(backbone, [[8.0] * 5, [8.0, -1.0, 8.0, 8.0, 8.0]]) == [2 * 1 / 5, 0.0]
    assert guaranteed_times(None, [[8.0]]) is None


def test_figures_are_drawn_from_the_tables_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("metric", "weights", "backbone", "train_size", "split", "step", "margin", "hebbian_factor")
    with (tmp_path / "measurements.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for step in (10, 20):
            writer.writerows(("recovery", "ema", "Memory", 8, split, step, step, 0.5) for split in ("train", "test"))
    row = {"step": 20, "critical_t_identity": 0.1}
    basins = [row | {"split": s, "margin": [m, 2.0], "critical_t": m} for s in ("train", "test") for m in (0.1, 0.2)]
    old = [row | {"step": 10, "split": "train", "margin": [0.9], "critical_t": 0.0}]  # an earlier step does not count
    pq.write_table(pa.Table.from_pylist(basins + old), tmp_path / "basins.parquet")
    draw_training(tmp_path / "training.png", [tmp_path, tmp_path])
    draw_bridge(tmp_path / "bridge.png", [tmp_path])
    assert "rank correlation of smallest margin and t_c 1.00 over 4 rows" in capsys.readouterr().out
    assert (tmp_path / "training.png").stat().st_size > 1000
    assert (tmp_path / "bridge.png").stat().st_size > 1000
