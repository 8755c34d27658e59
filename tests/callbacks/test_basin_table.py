"""Single rows of a run in basins.parquet."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.tasks import small_task
from uddm_lightning.callbacks import basin_table
from uddm_lightning.callbacks.basin_table import BasinTable
from uddm_lightning.core.errors import InputError
from uddm_lightning.results.tables import BASINS
from uddm_lightning.training.task import DiffusionTask


@pytest.mark.parametrize("sanity_checking", [False, True])
def test_the_first_draws_of_each_record_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sanity_checking: bool
) -> None:
    common = {"split": "train", "weights": "ema", "sampler": "ancestral", "sampler_steps": 4}
    empty: dict[str, Any] = dict.fromkeys(BASINS.names)
    rows = [{**{name: empty[name] for name in empty if name not in common}, "row_id": 5, "place": k} for k in range(3)]
    probe = SimpleNamespace(records=[{**common, "_rows": rows}, {**common, "split": "test"}])
    trainer: Any = SimpleNamespace(sanity_checking=sanity_checking, is_global_zero=True)
    monkeypatch.setattr(DiffusionTask, "weights_step", 9)
    monkeypatch.setattr(basin_table, "probes", lambda trainer: [probe])
    monkeypatch.setattr(basin_table, "is_dry_run", lambda trainer: False)
    monkeypatch.setattr(basin_table, "run_folder", lambda trainer: tmp_path)
    monkeypatch.setattr(basin_table, "may_overwrite", lambda trainer: True)
    BasinTable(rows=2).on_validation_end(trainer, small_task())
    path = tmp_path / "basins.parquet"
    assert path.exists() != sanity_checking
    if not sanity_checking:
        found = pq.read_table(path).to_pylist()
        assert [(row["split"], row["row_id"], row["place"]) for row in found] == [("train", 5, 0), ("train", 5, 1)]


def test_the_number_of_rows_is_checked() -> None:
    with pytest.raises(InputError, match="`rows` must be at least 0, got -1"):
        BasinTable(rows=-1)
