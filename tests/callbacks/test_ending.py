"""The lines at the end of `uddm fit`."""

from pathlib import Path

from uddm_lightning.callbacks.ending import ending_lines


def test_tensorboard_is_named_where_there_is_something_to_see(tmp_path: Path) -> None:
    assert not any("tensorboard --logdir" in line for line in ending_lines(tmp_path))
    (tmp_path / "events.out.tfevents.1").touch()
    assert ending_lines(tmp_path)[-1] == f"      tensorboard --logdir {tmp_path}"


def test_a_trained_run_ends_with_its_regime(trained: Path) -> None:
    first, *_ = ending_lines(trained / "run")
    assert first.startswith("regime at N = 8: ")
