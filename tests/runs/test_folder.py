"""A run can always start in its folder, even after an earlier run there was killed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import OFF, check, content, tiny_config
from tests.support.ranks import Job
from tests.support.ranks import run as run_jobs
from uddm_lightning.core import files
from uddm_lightning.runs.manifest import read_manifest, trained_steps


class Killed(BaseException):
    """The simulated end of the process; no code handles it."""


ACTS = ("mkdir", "chmod", "replace", "unlink", "write_text", "hardlink_to", "open")


class Killer:
    """End the program at the n-th change of a file in a folder, before it or right after it.

    After most changes the folder is as before the next one. Only a file that was just opened is still empty, so
    `after` counts such changes alone.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, number: int, after: bool) -> None:
        self.folder = folder
        self.left = number
        self.after = after
        self.dead = False
        for name in ACTS:
            patch.setattr(Path, name, self.watched(name, getattr(Path, name)))
        patch.setattr(files.tempfile, "mkstemp", self.watched("mkstemp", files.tempfile.mkstemp))

    def watched(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            path = options.get("dir") if name == "mkstemp" else arguments[0]
            reads = name == "open" and (arguments[1:] or [options.get("mode", "r")])[0] in ("r", "rb")
            if (
                reads
                or (self.after and name not in ("open", "mkstemp"))
                or not Path(str(path)).absolute().is_relative_to(self.folder)
            ):
                return act(*arguments, **options)
            if self.dead:  # a killed program cleans up nothing
                raise Killed
            self.left -= 1
            if self.left >= 0:
                return act(*arguments, **options)
            self.dead = True
            if self.after:
                act(*arguments, **options)
            raise Killed

        return call


@pytest.fixture
def stopped(uddm, config_on_the_way, tmp_path, monkeypatch) -> Path:
    """Return the folder of a run that was killed between its first table and its first checkpoint."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("uddm_lightning.runs.checkpoints.LastCheckpoint.on_validation_end", kill)
        with pytest.raises(Killed):
            uddm("fit", "-c", config_on_the_way, "--out", out)
    assert (out / "measurements.csv").exists()
    assert not (out / "checkpoints" / "last.ckpt").exists()
    return out


def kill(*_: Any) -> None:
    raise Killed


def die_at(uddm: Any, patch: pytest.MonkeyPatch, out: Path, number: int, after: bool, *words: object) -> bool:
    """Return whether the program was killed at the n-th file operation before its first step."""
    killer = Killer(patch, out, number, after)
    patch.setattr("uddm_lightning.training.task.DiffusionTask.on_train_batch_start", kill)
    with pytest.raises(Killed):
        uddm(*words)
    return killer.dead


# First operation and distance to the next one. The last two together kill at every fifth or sixth operation.
STRIDES = [
    pytest.param((0, 1), marks=pytest.mark.bar, id="every"),
    pytest.param((0, 11), marks=pytest.mark.slow, id="others"),
    pytest.param((5, 11), id="some"),
]
TORN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed program closes no file


@TORN
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("began", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["empty", "measured"])
@pytest.mark.parametrize("numbers", STRIDES)
def test_a_start_killed_at_any_file_operation_can_start_again(
    uddm, config, tmp_path, stopped, began, after, numbers
) -> None:
    calm = (stopped / "measurements.csv").read_bytes()
    (number, stride), died = numbers, True
    while died:
        out = tmp_path / f"out{number}"
        if began:
            shutil.copytree(stopped, out)
        words = ("fit", "-c", config, "--out", out)
        before = (out / "config.yaml").exists()
        with pytest.MonkeyPatch.context() as patch:
            died = die_at(uddm, patch, out, number, after, *words)
        assert not before or yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8")), "never away"
        assert not before or read_manifest(out), "never away"
        with pytest.MonkeyPatch.context() as patch:  # killed again in its first step
            assert not die_at(uddm, patch, out, 10**6, after, *words)
        assert read_manifest(out)["run"]
        number += stride
        shutil.rmtree(out)
    assert number > 4, "the operations were seen"
    outcome = uddm("fit", "-c", config, "--out", stopped)
    assert outcome.status == 0, outcome.err
    assert trained_steps(stopped) == 6
    assert (stopped / "measurements.csv").read_bytes().startswith(calm[:200])


@TORN
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("numbers", STRIDES)
def test_a_resumption_killed_at_any_file_operation_can_be_resumed(uddm, config, tmp_path, after, numbers) -> None:
    half = tmp_path / "half"
    assert uddm("fit", "-c", config, "--out", half, "--trainer.max_steps", 3, *OFF).status == 0
    (number, stride), died = numbers, True
    while died:
        out = shutil.copytree(half, tmp_path / f"out{number}")
        words = ("fit", "-c", out / "config.yaml", "--ckpt_path", "last", "--trainer.max_steps", 6)
        with pytest.MonkeyPatch.context() as patch:
            died = die_at(uddm, patch, out, number, after, *words)
        said = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))["trainer"]["max_steps"]
        assert said in (3, 6)
        assert said == 3 or (out / "config-3.yaml").exists(), "what held before is kept before it is replaced"
        assert read_manifest(out)["corpus"]
        number += stride
    assert number > 4, "the operations were seen"
    outcome = uddm(*words)
    assert outcome.status == 0, outcome.err
    assert trained_steps(out) == 6


def test_measurements_of_another_text_are_not_mixed(uddm, config, corpus, stopped) -> None:
    before = content(stopped)
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("peace", "place"), encoding="utf-8")
    check(uddm("fit", "-c", config, "--out", stopped), "manifest.json", "corpus", "--out")
    assert content(stopped) == before


def test_another_config_never_overwrites_measurements(uddm, config, stopped) -> None:
    before = content(stopped)
    options = ("--model.optimizer.init_args.lr", 0.5)
    check(uddm("fit", "-c", config, "--out", stopped, *options), "already holds measurements", "--out")
    assert content(stopped) == before


@pytest.mark.slow
def test_killed_processes_start_again(tmp_path, corpus) -> None:
    """Kill a run between the first table and the first checkpoint, again right after its start, then let it finish."""
    settings = tiny_config(corpus)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = ["fit", "-c", str(path), "--out", str(tmp_path / "run")]
    for event in (["saving", 1, "kill", ""], ["step", 1, "kill", ""], ["saving", 1, "kill", ""]):
        (job,) = run_jobs(tmp_path / "logs", [Job("run", words, event=event)], well=False)
        assert job.status == [-9], job.out
        assert json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["run"]
    run_jobs(tmp_path / "logs", [Job("run", words)])
    assert trained_steps(tmp_path / "run") == 6
