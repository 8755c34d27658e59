"""The benchmark of a GPU runs at toy size without one, and a path that fails leaves its reason in the table."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
import torch

from tests.benchmarks import accelerator, accelerator_case, accelerator_paths
from tests.benchmarks.accelerator_case import Case, Row
from tests.benchmarks.accelerator_paths import PATHS
from tests.benchmarks.timing import StepClock

ROOT = Path(__file__).parents[2]
TOY = Case(torch.device("cpu"), toy=True, rounds=2)
SIDES = {  # of each path
    "products": 3,
    "training step, tiny, 256 rows": 4,
    "reverse step, tiny, 128 rows": 6,
    "entropy, tiny, 128 rows": 6,
    "quickstart step": 3,
    "fit step, tiny, 512 rows": 3,
    "chain of 1,000 steps, tiny, 128 rows": 1,
    "training step, small, 128 rows": 4,
    "quickstart sweep": 1,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # by torch's compiler
@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning describes models in half precision incompletely
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.bar if path.startswith("quickstart") else ()) for path in PATHS]
)
def test_every_path_runs_at_toy_size(tmp_path, path):
    accelerator.work(path, TOY, tmp_path / "rows.json")
    rows = [Row(*values) for values in json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))]
    assert len({row.side for row in rows}) == len(rows) == SIDES[path]
    assert {row.path for row in rows} == {path}
    for row in rows:
        assert row.seconds, row.note
        assert path == "quickstart sweep" or row.low <= row.seconds <= row.high


@pytest.mark.slow
def test_the_script_writes_the_table(tmp_path):
    words = ("--device", "cpu", "--toy", "--rounds", "2", "--only", "products", "--csv", str(tmp_path / "gpu.csv"))
    done = subprocess.run([ROOT / "tests/benchmarks/gpu.sh", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "gpu.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["machine", *["products"] * 3]
    assert "torch" in rows[0]["note"]
    assert float(rows[1]["TFLOP/s"]) > 0
    assert "| products | bfloat16 |" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_a_path_without_time_is_named(tmp_path, capsys):
    assert not accelerator.run(TOY, ["products"], seconds=1.0, table=tmp_path / "gpu.csv")
    assert "| products |  |" in capsys.readouterr().out
    assert "not measured: no time left" in (tmp_path / "gpu.csv").read_text(encoding="utf-8")


def test_a_path_that_hangs_is_ended():
    (row,) = accelerator.measure_apart("products", TOY, 0.1)
    assert row.seconds is None
    assert "not measured: the path took more than" in row.note


def test_sides_before_a_crash_are_kept(tmp_path):
    def measured():
        return [Row(*values) for values in json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))]

    seen = []
    sides = {"first": lambda: None, "second": lambda: seen.append(measured())}
    accelerator_case.measure("path", TOY._replace(out=tmp_path / "rows.json"), sides)
    assert [row.side for row in seen[0]] == ["first"]
    assert seen[0][0].seconds > 0
    assert "the path was ended before the sides took turns" in seen[0][0].note


def test_a_table_keeps_the_rows_of_other_paths(tmp_path):
    table = tmp_path / "gpu.csv"
    machine, step = Row("machine", "GPU 7"), Row("step", "ours", 0.01, flops=4e12, dtype="bfloat16")
    products = Row("products", "bfloat16", 2.0, flops=1.6e15, dtype="bfloat16")
    accelerator.write(table, [machine, products, Row("step", "ours", 0.5)])
    accelerator.write(table, [machine, step], accelerator.read(table, "GPU 7"))
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["ms"]) for row in rows] == [("machine", ""), ("step", "10.000"), ("products", "2000.000")]
    assert rows[1]["share of products"] == "0.500"
    assert accelerator.read(table, "GPU 8") == accelerator.read(tmp_path / "none.csv", "GPU 7") == []


def test_a_path_that_fails_leaves_its_reason(tmp_path, monkeypatch):
    def fail(path, case):
        raise RuntimeError("no kernel\nfor this device")

    monkeypatch.setitem(accelerator_paths.PATHS, "products", fail)
    accelerator.work("products", TOY, tmp_path / "rows.json")
    (values,) = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert Row(*values).note == "RuntimeError: no kernel"


def test_a_side_that_fails_does_not_hide_the_others():
    def fail():
        raise torch.OutOfMemoryError("too much\nof it")

    good, bad = accelerator_case.measure("path", TOY, {"good": lambda: None, "bad": fail}, tokens=3)
    assert good.seconds is not None
    assert good.tokens == 3
    assert bad == Row("path", "bad", note="OutOfMemoryError: too much")


def test_cells_of_the_table():
    rows = [
        Row("products", "bfloat16", 2.0, 2.0, 2.0, flops=1.6e15, dtype="bfloat16"),
        Row("step", "ours", 0.01, 0.009, 0.011, 3 * 2**20, 100, 4e12, "bfloat16", 7.0, "a | b"),
        Row("step", "textbook, eager", 0.03),
        Row("step", "textbook, compiled", 0.02),
    ]
    cells = [dict(zip(accelerator.HEAD, row, strict=True)) for row in accelerator.formatted(rows)]
    assert cells[1] == {
        "path": "step",
        "side": "ours",
        "ms": "10.000",
        "low": "9.000",
        "high": "11.000",
        "times as fast": "2.00",
        "peak MiB": "3",
        "TFLOP/s": "400",
        "share of products": "0.500",
        "tokens/s": "10000",
        "first call s": "7.0",
        "note": "a / b",
    }
    assert cells[0]["TFLOP/s"] == "800"
    assert cells[2]["times as fast"] == "0.67"


def test_the_clock_of_steps():
    clock = StepClock(torch.device("cpu"))
    clock.ends = [1.0, 2.0, 4.0, 7.0]
    assert clock.steps() == [1.0, 2.0, 3.0]
    assert clock.steps(skip=2) == [3.0]


def test_names_of_files():
    assert accelerator.slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
