"""`uddm probe FOLDER`: a curve over the checkpoints of one training."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Outcome
from tests.support.foreign import SETTINGS, merged, save_foreign
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.checkpoint_series import is_series, load_series

Run = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, raw: DiT, averaged: DiT) -> Path:
    """Three checkpoints, of a text that is not known."""
    made = tmp_path / "checkpoints"
    made.mkdir()
    settings = merged(SETTINGS, "data.train", "diaries")
    for step in (900, 10_000, 0):

        def at_step(content: dict[str, Any], step: int = step) -> None:
            content["global_step"] = step

        save_foreign(made / f"0-{step}.ckpt", raw, averaged, settings, at_step)
    save_foreign(made / "last.ckpt", raw, averaged, settings)
    return made


def test_checkpoints_are_loaded_in_the_order_of_their_steps(folder: Path) -> None:
    assert is_series(folder)
    assert [run.step for run in load_series(folder, device="cpu")] == [0, 900, 10_000]


@pytest.mark.slow
def test_the_curve_is_printed_and_written(uddm: Run, folder: Path, tmp_path: Path) -> None:
    out, data, page = tmp_path / "curve.csv", tmp_path / "curve.json", tmp_path / "curve.html"
    words = ("-n", 2, "--times", "0.1,0.5", "--steps", 3, "--out", out, "--json", data, "--html", page)
    outcome = uddm("probe", folder, *words)
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "conditional entropy in nats per token, 2 own samples; ema weights"
    assert lines[1].split() == ["step", "t", "=", "0.1", "t", "=", "0.5", "verdict"]
    assert [line.split()[0] for line in lines[2:5]] == ["0", "900", "10,000"]
    assert all(line.split()[3] == "undetermined" for line in lines[2:5])  # from two samples
    assert "the verdict is undetermined at 3 of 3 steps" in lines
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["step"], row["t"]) for row in rows] == [(s, t) for s in ("0", "900", "10000") for t in ("0.1", "0.5")]
    assert len({row["entropy"] for row in rows}) == 2  # the same weights
    assert {row["verdict"] for row in rows} == {"undetermined"}
    assert [one["model"]["step"] for one in json.loads(data.read_text())["models"]] == [0, 900, 10_000]
    assert "Probability of each regime over the steps" in page.read_text()


def test_the_checkpoints_of_a_run_are_a_series(trained: Path, tmp_path: Path) -> None:
    """Copies of `last.ckpt` stand for checkpoints of a `ModelCheckpoint`."""
    shutil.copytree(trained / "run", tmp_path / "run")
    made = tmp_path / "run/checkpoints"
    for step in (3, 6):
        shutil.copyfile(made / "last.ckpt", made / f"step{step}.ckpt")
    assert is_series(made)
    assert [run.folder.name for run in load_series(made, device="cpu")] == ["run", "run"]


def test_other_folders_are_no_series(tmp_path: Path, folder: Path) -> None:
    assert not is_series(tmp_path / "none")
    assert not is_series(folder / "last.ckpt")
    (folder / "config.json").write_text("{}")
    assert not is_series(folder)


def test_a_name_without_a_step_is_refused(folder: Path) -> None:
    (folder / "0-900.ckpt").rename(folder / "best.ckpt")
    with pytest.raises(InputError, match=r"best\.ckpt`: the name of a checkpoint in a folder holds its step"):
        list(load_series(folder))


@pytest.mark.parametrize("second", ["data: {train_size: 16}\nseed_everything: 0\n", "data: {train_size: 8}\n"])
def test_the_runs_of_a_sweep_are_no_series(tmp_path: Path, second: str) -> None:
    for name, text in (("DiT-n8-s0", "data: {train_size: 8}\nseed_everything: 0\n"), ("other", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"runs of different sizes or seeds, such as DiT-n8-s0 and other, and not"):
        next(load_series(tmp_path))
