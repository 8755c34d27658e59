"""Runs of a sweep are trained through a launcher, and failures are shown."""

import signal
from pathlib import Path

import pytest

from tests.support.fake_launcher import FakeLauncher
from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.run_all import Sweep, _left
from uddm_lightning.sweeps.sweep_run import SweepRun


def runs(folder: Path, *sizes: int) -> list[SweepRun]:
    return [SweepRun("DiT", size, 0, folder, ("fit",), steps=4) for size in sizes]


def test_a_failed_run_is_shown_with_its_log_and_a_finished_one_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = Sweep(tmp_path, [], [0], FakeLauncher(fails=8), digits=2)
    sweep.train(runs(tmp_path, 2, 8), lambda run, seconds: f"size {run.size}")
    assert [(outcome.run.size, outcome.status) for outcome in sweep.failed] == [(8, -9)]
    shown = capsys.readouterr().err
    assert "DiT-n2-s0: size 2" in shown
    assert "DiT-n8-s0 FAILED: ended by signal SIGKILL; the end of " in shown
    assert "    no memory left" in shown
    assert sorted(path.name for path in (tmp_path / "tensorboard").iterdir()) == ["DiT-n02-s0", "DiT-n08-s0"]
    sweep.train(runs(tmp_path, 2), lambda run, seconds: "again")
    assert "1 of 1 runs are finished already" in capsys.readouterr().err


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path) -> None:
    sweep, before = Sweep(tmp_path, [], [0], FakeLauncher()), signal.getsignal(signal.SIGTERM)
    with sweep.alone(), pytest.raises(InputError, match="Another sweep is running in"), sweep.alone():
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_exact_model_is_measured_once(tmp_path: Path) -> None:
    assert Sweep(tmp_path, [], [0, 1], FakeLauncher()).best_runs(8) == []


@pytest.mark.parametrize(
    ("took", "running", "todo", "text"),
    [
        ([], [5.0], 3, ""),
        ([60.0], [], 3, ""),
        ([600.0, 600.0], [0.0], 1, "about 10 min left, "),
        ([600.0], [300.0, 300.0], 4, "about 15 min left, "),
        ([60.0], [600.0], 1, "about 1 min left, "),
    ],
)
def test_the_time_left_is_that_of_the_finished_runs(
    took: list[float], running: list[float], todo: int, text: str
) -> None:
    assert _left(took, running, todo) == text
