"""The progress of a run, for the program that started it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.callbacks.heartbeat import Heartbeat


def test_the_file_holds_steps_seconds_and_the_measured_share(tmp_path: Path) -> None:
    trainer: Any = SimpleNamespace(is_global_zero=True, global_step=3, num_val_batches=[3, 1])
    model: Any = None
    beat = Heartbeat(tmp_path / "beat", lambda: True)
    beat.on_train_batch_start()
    beat.on_train_batch_end()
    beat.on_validation_start(trainer, model)
    beat.on_validation_batch_end()
    beat.teardown(trainer, model, "fit")
    steps, seconds, share = (tmp_path / "beat").read_text().split()
    assert (steps, share) == ("3", "0.250")
    assert float(seconds) >= 0.0
    assert beat.seconds > 0.0
    beat.on_train_batch_start()
    beat.teardown(trainer, model, "fit")
    assert (tmp_path / "beat").read_text().split()[2] == "0.000", "training has gone on"


def test_there_is_none_without_a_parent_that_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UDDM_HEARTBEAT", raising=False)
    assert Heartbeat.from_environment() is None
    monkeypatch.setenv("UDDM_HEARTBEAT", str(tmp_path / "beat"))
    monkeypatch.setattr("uddm_lightning.callbacks.heartbeat.parent_check", lambda: None)
    assert Heartbeat.from_environment() is None
    monkeypatch.setattr("uddm_lightning.callbacks.heartbeat.parent_check", lambda: lambda: True)
    found = Heartbeat.from_environment()
    assert found is not None
    assert found.path == tmp_path / "beat"
