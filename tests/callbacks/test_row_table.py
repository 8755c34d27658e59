"""The table of draws holds each draw once, by metric, weights and step."""

from pathlib import Path
from typing import Any

import numpy as np

from uddm_lightning.callbacks.row_table import FILE, draws_until, write_draws


def record(step: int, weights: str = "ema", rows: int = 3) -> dict[str, Any]:
    draws = {"row_id": np.arange(rows), "n_corrupted": np.full(rows, 4), "n_recovered": np.arange(rows)}
    return {
        "metric": "recovery",
        "split": "test",
        "step": step,
        "weights": weights,
        "t": 0.1,
        "sampler": "ancestral",
        "sampler_steps": 100,
        "_draws": draws,
    }


def test_draws_until_a_step_are_of_one_metric_and_one_kind_of_weights(tmp_path: Path) -> None:
    write_draws(tmp_path, [record(10), record(10, weights="raw"), record(20), record(30)], overwrite=False)
    found = draws_until(tmp_path, "recovery", "ema", 20)
    assert found.num_rows == 6
    assert set(found.column("step").to_pylist()) == {10, 20}
    assert set(found.column("weights").to_pylist()) == {"ema"}
    assert draws_until(tmp_path, "entropy", "ema", 20).num_rows == 0


def test_records_without_draws_leave_no_table(tmp_path: Path) -> None:
    write_draws(tmp_path, [{"metric": "nelbo", "split": "test", "step": 1}], overwrite=False)
    assert not (tmp_path / FILE).exists()
    assert draws_until(tmp_path, "recovery", "ema", 1).num_rows == 0


def test_fewer_draws_replace_more_only_on_request(tmp_path: Path) -> None:
    write_draws(tmp_path, [record(10, rows=3)], overwrite=False)
    write_draws(tmp_path, [record(10, rows=2)], overwrite=True)
    assert draws_until(tmp_path, "recovery", "ema", 10).num_rows == 2
