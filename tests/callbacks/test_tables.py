"""The tidy table, its summary, the panel and the figure, without a trainer."""

import csv
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from uddm_lightning.callbacks.figures import pixels, recovery_figure, sequence_panel, write_picture
from uddm_lightning.callbacks.measurements import summary
from uddm_lightning.errors import InputError
from uddm_lightning.tables import COLUMNS, update_table


def record(kind: str = "recovery", split: str = "train", t: float | None = 0.1, **fields: object) -> dict:
    common = {"run": "r", "backbone": "DiT", "parameters": 3, "size": 8, "seed": 0, "step": 10, "weights": "ema"}
    return {**common, "kind": kind, "split": split, "chain": "ancestral", "steps": 50, "t": t, **fields}


def read(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_replaced_by_key_and_sorted(tmp_path):
    path = tmp_path / "run" / "measurements.csv"
    update_table(path, [record(t=0.5, recovery=0.25), record(t=0.1, recovery=0.125), record(step=2, recovery=1.0)])
    update_table(path, [record(t=0.1, recovery=1 / 3), record("nelbo", t=None, nelbo=2.0)])
    rows = read(path)
    assert [(r["kind"], r["step"], r["t"], r["recovery"]) for r in rows] == [
        ("nelbo", "10", "", ""),
        ("recovery", "2", "0.1", "1.0"),
        ("recovery", "10", "0.1", repr(1 / 3)),
        ("recovery", "10", "0.5", "0.25"),
    ]
    assert list(rows[0]) == list(COLUMNS)


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
    text = summary(
        [
            record(recovery=0.5, chance=0.02),
            record(split="test", recovery=0.25, chance=0.03),
            record("entropy", entropy=0.125),
            record("entropy", split="test", entropy=math.nan),
            record("nelbo", split="test", t=None, nelbo=2.1, t_min=0.001, t_max=1.0),
        ]
    )
    lines = text.splitlines()
    assert lines[0] == "step 10, 8 training rows, ema weights, ancestral chain on 50 steps"
    assert lines[2].split() == ["0.1", "0.500", "0.250", "0.030", "0.125", "-"]
    assert lines[3].strip() == "NELBO on [0.001, 1], nats per token: test 2.100"
    header, row = lines[1], lines[2]
    ends = [header.index(word) + len(word) for word in ("train", "test", "chance")]
    assert [row[:end].split()[-1] for end in ends] == ["0.500", "0.250", "0.030"], "columns stand under their names"


def test_marks_tell_what_happened_to_each_token():
    panel = sequence_panel(list("abcd"), list("axyd"), list("abzq"))
    assert panel.splitlines() == ["original  abcd", "corrupted axyd", "restored  abzq", "           +x!"]


def test_wide_tokens_stay_aligned():
    panel = sequence_panel(["war ", "and"], ["x", "and"], ["war ", "or"])
    assert panel.splitlines() == ["original  war and", "corrupted x   and", "restored  war or ", "          +   !  "]


def test_the_figure_has_a_curve_for_each_split():
    bounds = {"recovery_low": 0.1, "recovery_high": 0.9, "entropy_low": 0.1, "entropy_high": 0.9, "chance": 0.05}
    records = [
        record(kind, split, t, recovery=0.5, entropy=0.5, **bounds)
        for kind in ("recovery", "entropy")
        for split in ("train", "test")
        for t in (0.1, 0.5)
    ]
    figure = recovery_figure(records, "8 training rows")
    assert isinstance(figure, Figure)
    left, right = figure.axes
    assert [line.get_label() for line in left.get_lines()] == ["train", "test", "chance"]
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
    update_table(path, [{**record(size=16, recovery=0.75), "run": "larger"}])
    update_table(path, [{**record(recovery=0.125), "run": "name"}])
    found = {(row["run"], row["size"], row["t"], row["recovery"]) for row in read(path)}
    assert found == {("larger", "16", "0.1", "0.75"), ("name", "8", "0.1", "0.125"), ("name", "8", "0.5", "0.5")}
