"""Checkpoint files: a complete one exists at any moment."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uddm_lightning.runs import checkpoints


class Watch:
    """Check after every change of the file system that a valid last checkpoint exists."""

    def __init__(self, last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.last = last
        self.steps: list[int] = []
        for name in ("replace", "hardlink_to", "unlink", "chmod"):
            monkeypatch.setattr(Path, name, self.watched(getattr(Path, name)))

    def watched(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = act(*arguments, **options)
            self.steps.append(checkpoints.load(self.last)["global_step"])
            return result

        return call


def checkpoint_of(step: int) -> dict[str, Any]:
    weights = {"ema.backbone.weight": torch.full((1000,), float(step))}
    about = {"hyper_parameters": {"vocab_size": 3}, "pytorch-lightning_version": "2.6"}
    return {"global_step": step, "state_dict": weights, **about}


@pytest.mark.parametrize("links", [True, False])
def test_a_valid_last_checkpoint_exists_at_any_moment(tmp_path, monkeypatch, links) -> None:
    plugin, last = checkpoints.AtomicCheckpointIO(), tmp_path / "last.ckpt"
    plugin.save_checkpoint(checkpoint_of(1), last)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse_link)
    with monkeypatch.context() as patch:
        watch = Watch(last, patch)
        plugin.save_checkpoint(checkpoint_of(2), last)
        plugin.save_checkpoint(checkpoint_of(3), last)
    assert watch.steps == sorted(watch.steps)
    assert set(watch.steps) == {1, 2, 3}
    steps = {path.name: checkpoints.load(path)["global_step"] for path in tmp_path.iterdir()}
    assert steps == {"last.ckpt": 3, "previous.ckpt": 2}


def refuse_link(*_: object) -> None:
    raise OSError(errno.EPERM, "no links here")


def test_other_errors_of_the_writer_are_not_reported_as_a_full_disk(tmp_path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="boom"):
        checkpoints.AtomicCheckpointIO().save_checkpoint(checkpoint_of(1), tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())
