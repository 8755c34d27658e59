"""The tidy table: rows are replaced by key, and no column is lost."""

import csv
import math
import multiprocessing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.probes import record
from uddm_lightning.core.errors import InputError
from uddm_lightning.results.tables import BASINS, COMMON, of_main_chain, read_table, update_rows, update_table


def read(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_replaced_by_key_and_sorted(tmp_path):
    path = tmp_path / "run" / "measurements.csv"
    update_table(path, [record(t=0.5, recovery=0.25), record(t=0.1, recovery=0.125), record(step=2, recovery=1.0)])
    update_table(path, [record(t=0.1, recovery=1 / 3), record("nelbo", t=None, nelbo=2.0)])
    rows = read(path)
    assert [(r["metric"], r["step"], r["t"], r["recovery"]) for r in rows] == [
        ("nelbo", "10", "", ""),
        ("recovery", "2", "0.1", "1.0"),
        ("recovery", "10", "0.1", repr(1 / 3)),
        ("recovery", "10", "0.5", "0.25"),
    ]
    assert list(rows[0]) == [*COMMON, "recovery", "nelbo"]


def test_chains_with_other_steps_have_separate_rows_and_readers_use_one(tmp_path):
    path = tmp_path / "measurements.csv"
    several = {"t": None, "n_draws": 8}
    update_table(
        path, [record(sampler_steps=9, recovery=0.5, **several), record(sampler_steps=100, recovery=0.25, **several)]
    )
    update_table(path, [record(t=t, sampler_steps=40, recovery=0.125, n_draws=8) for t in (0.5, 0.1)])
    rows = read_table(path)
    assert [(row["t"], row["sampler_steps"]) for row in rows] == [("", "9"), ("", "100"), ("0.1", "40"), ("0.5", "40")]
    assert {row["sampler_steps"] for row in of_main_chain(rows)} == {"40"}, "that with most rows"
    assert {row["sampler_steps"] for row in of_main_chain(rows[:2])} == {"100"}, "else the finest"


def test_more_draws_are_not_replaced_by_fewer(tmp_path):
    path = tmp_path / "measurements.csv"
    assert update_table(path, [record(n_draws=512, recovery=0.5), record(t=0.5, n_draws=16, recovery=0.5)]) == []
    fewer = [record(n_draws=32, recovery=0.25), record(t=0.5, n_draws=16, recovery=0.25)]
    assert update_table(path, fewer) == fewer[:1]
    assert [(row["n_draws"], row["recovery"]) for row in read_table(path)] == [("512", "0.5"), ("16", "0.25")]
    assert update_table(path, fewer, overwrite=True) == []
    assert [(row["n_draws"], row["recovery"]) for row in read_table(path)] == [("32", "0.25"), ("16", "0.25")]


def write_some(folder: str, number: int, start: Any) -> None:
    start.wait()
    for step in range(10):
        one = {"row_id": number, "step": step, "split": str(number)}
        update_table(Path(folder) / "measurements.csv", [record(step=step, seed=number, split=str(number))])
        update_rows(Path(folder) / "basins.parquet", [one], BASINS, ("step", "split"))


def test_concurrent_writes_lose_no_row(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    writers = [context.Process(target=write_some, args=(str(tmp_path), number, start)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(read_table(tmp_path / "measurements.csv")) == 40
    assert pq.read_metadata(tmp_path / "basins.parquet").num_rows == 40


def test_missing_values_are_empty(tmp_path):
    path = tmp_path / "measurements.csv"
    update_table(path, [record(recovery=math.nan, chance=None, n_rows=0)])
    (row,) = read(path)
    assert (row["recovery"], row["chance"], row["n_rows"]) == ("", "", "0")


def test_another_table_is_not_overwritten(tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"measurements.csv. is not a table of measurements: it has no column 'run'"):
        update_table(path, [record()])
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_rows_under_an_old_name_belong_to_the_run(tmp_path):
    path = tmp_path / "measurements.csv"
    update_table(path, [{**record(recovery=0.25), "run": "folder"}, {**record(t=0.5, recovery=0.5), "run": "folder"}])
    update_table(path, [{**record(train_size=16, recovery=0.75), "run": "larger"}])
    update_table(path, [{**record(recovery=0.125), "run": "name"}])
    found = {(row["run"], row["train_size"], row["t"], row["recovery"]) for row in read(path)}
    assert found == {("larger", "16", "0.1", "0.75"), ("name", "8", "0.1", "0.125"), ("name", "8", "0.5", "0.5")}
