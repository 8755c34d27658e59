"""Parquet tables of a run."""

import pyarrow.parquet as pq

from uddm_lightning.results.tables import BASINS, update_rows


def test_more_rows_of_a_parquet_table_are_not_replaced_by_fewer(tmp_path):
    path, key = tmp_path / "basins.parquet", ("step", "split")

    def rows(split: str, count: int, critical_t: float) -> list[dict]:
        return [{"row_id": k, "step": 1, "split": split, "critical_t": critical_t} for k in range(count)]

    def held() -> list[tuple]:
        found = pq.read_table(path)
        return [(one["split"], one["row_id"], one["critical_t"]) for one in found.to_pylist()]

    update_rows(path, [*rows("train", 3, 0.5), *rows("test", 1, 0.5)], BASINS, key)
    update_rows(path, [*rows("train", 2, 0.25), *rows("test", 1, 0.25)], BASINS, key)
    assert held() == [("test", 0, 0.25), *(("train", k, 0.5) for k in range(3))]
    update_rows(path, rows("train", 2, 0.25), BASINS, key, overwrite=True)
    assert held() == [("test", 0, 0.25), ("train", 0, 0.25), ("train", 1, 0.25)]
