"""Progress of the trainer, as a bar and as lines."""

from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.callbacks.progress import StepProgressBar, StepProgressLines


def trainer(**more: Any) -> Any:
    return SimpleNamespace(**{"max_steps": 40, "global_step": 10, "accumulate_grad_batches": 2, **more})


def test_the_bar_counts_micro_batches_up_to_the_last_step() -> None:
    bar = StepProgressBar()
    bar._trainer = trainer()
    assert bar.total_train_batches == 80


def test_lines_count_the_steps_of_this_session(capsys: pytest.CaptureFixture[str]) -> None:
    lines = StepProgressLines()
    lines.on_train_start(trainer())
    progress = lines._training
    assert progress is not None
    lines.on_train_batch_end(trainer(global_step=11))
    assert progress.done == 11
    lines.on_train_end()
    assert "\r" not in capsys.readouterr().err


def test_a_disabled_display_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines = StepProgressLines()
    lines.disable()
    lines.on_train_start(trainer())
    lines.on_train_batch_end(trainer(global_step=40))
    lines.on_train_end()
    assert not lines.is_enabled
    assert capsys.readouterr() == ("", "")
