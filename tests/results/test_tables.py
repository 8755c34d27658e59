"""The tidy table, its summary, the panel and the figure, without a trainer."""

import csv
import math
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from uddm_lightning.callbacks.figures import pixels, recovery_figure, sequence_panel, write_picture
from uddm_lightning.callbacks.measurements import summary
from uddm_lightning.core.errors import InputError
from uddm_lightning.results.tables import BASINS, COLUMNS, of_main_chain, read_table, update_rows, update_table


def record(kind: str = "recovery", split: str = "train", t: float | None = 0.1, **fields: object) -> dict:
    common = {"run": "r", "backbone": "DiT", "parameters": 3, "train_size": 8, "seed": 0, "step": 10, "weights": "ema"}
    return {**common, "metric": kind, "split": split, "sampler": "ancestral", "sampler_steps": 50, "t": t, **fields}


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
    assert list(rows[0]) == list(COLUMNS)


def test_chains_of_other_steps_stand_beside_each_other_and_readers_take_one(tmp_path):
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


def write_some(folder: str, number: int, start: Any) -> None:
    start.wait()
    for step in range(10):
        one = {"row_id": number, "step": step, "split": str(number)}
        update_table(Path(folder) / "measurements.csv", [record(step=step, seed=number, split=str(number))])
        update_rows(Path(folder) / "basins.parquet", [one], BASINS, ("step", "split"))


def test_processes_that_write_at_once_lose_nothing(tmp_path):
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


def test_what_was_not_measured_stays_empty(tmp_path):
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


def test_the_summary_is_one_small_table():
    costs = {"clean_change_rate": 0.05, "errors_before": 0.1, "errors_after": 0.125}
    text = summary(
        [
            record(recovery=0.5, chance=0.02),
            record(split="test", recovery=0.25, chance=0.03, coincidence=0.08, **costs),
            record("entropy", entropy=0.125),
            record("entropy", split="test", entropy=math.nan),
            record("nelbo", split="test", t=None, nelbo=2.1, t_min=0.05, t_max=1.0, pool_unigram_entropy=2.75),
            record("nelbo_extrapolated", split="test", t=None, nelbo=9.1, t_min=0.001, t_max=1.0),
        ]
    )
    lines = text.splitlines()
    assert lines[0] == "step 10, 8 training rows, ema weights, ancestral chain on 50 steps"
    assert lines[2].split() == ["0.1", "0.500", "0.250", "0.030", "0.080", "0.125", "-"]
    assert lines[4].split() == ["0.1", "0.050", "0.100", "0.125"]
    assert lines[5].strip() == "NELBO on [0.05, 1], nats per token: test 2.100; unigram entropy of the pool 2.750"
    assert "NELBO on [0.001, 1] (extrapolated: wider than the range of training), nats per token: test 9.1" in lines[6]
    assert len(lines) == 7
    for header, row, words in (
        (lines[1], lines[2], {"train": "0.500", "test": "0.250", "chance": "0.030", "coincidence": "0.080"}),
        (lines[3], lines[4], {"changed": "0.050", "before": "0.100", "after": "0.125"}),
    ):
        for word, value in words.items():
            end = header.index(word) + len(word)
            assert row[:end].split()[-1] == value, "columns stand under their names"


def test_the_summary_tells_of_the_best_estimate_and_of_a_falling_bound():
    oracle = record(split="test", recovery=0.25, bayes_argmax=0.5)
    bound = record("nelbo", split="test", t=None, nelbo=2.1, t_min=0.05, t_max=1.0, nelbo_falling=True)
    lines = summary([oracle, bound]).splitlines()
    assert lines[3].endswith("recovery of the best estimate")
    assert lines[4].endswith(" 0.500")
    assert lines[-1] == "   the NELBO of test rows was still falling over the last three validations"
    assert "falling" not in summary([bound | {"nelbo_falling": None}])


def test_marks_tell_what_happened_to_each_token():
    panel = sequence_panel(list("abcd"), list("axyd"), list("abzq"))
    assert panel.splitlines() == ["original  abcd", "corrupted axyd", "restored  abzq", "           +x!"]


def test_wide_tokens_stay_aligned():
    panel = sequence_panel(["war ", "and"], ["x", "and"], ["war ", "or"])
    assert panel.splitlines() == ["original  war and", "corrupted x   and", "restored  war or ", "          +   !  "]


def test_the_figure_has_a_curve_for_each_split():
    bounds = {"recovery_low": 0.1, "recovery_high": 0.9, "entropy_low": 0.1, "entropy_high": 0.9}
    bounds |= {"chance": 0.05, "coincidence": 0.08}
    records = [
        record(kind, split, t, recovery=0.5, entropy=0.5, **bounds)
        for kind in ("recovery", "entropy")
        for split in ("train", "test")
        for t in (0.1, 0.5)
    ]
    figure = recovery_figure(records, "8 training rows")
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert [line.get_label() for line in left.get_lines()] == ["train", "test", "chance", "coincidence"]
    assert [line.get_linestyle() for line in right.get_lines()] == ["-", "--"]
    assert recovery_figure([], "nothing was measured").axes


def test_a_file_holds_the_pixels_that_were_drawn(tmp_path):
    picture = pixels(recovery_figure([], "nothing was measured"))
    assert picture.shape == (396, 990, 3)
    assert picture.min() < 64, "nothing is drawn"
    write_picture(tmp_path / "figures" / "recovery.png", picture)
    np.testing.assert_array_equal(imread(tmp_path / "figures" / "recovery.png")[..., :3], picture / np.float32(255))


def test_rows_under_an_old_name_of_the_run_are_its_own(tmp_path):
    path = tmp_path / "measurements.csv"
    update_table(path, [{**record(recovery=0.25), "run": "folder"}, {**record(t=0.5, recovery=0.5), "run": "folder"}])
    update_table(path, [{**record(train_size=16, recovery=0.75), "run": "larger"}])
    update_table(path, [{**record(recovery=0.125), "run": "name"}])
    found = {(row["run"], row["train_size"], row["t"], row["recovery"]) for row in read(path)}
    assert found == {("larger", "16", "0.1", "0.75"), ("name", "8", "0.1", "0.125"), ("name", "8", "0.5", "0.5")}
