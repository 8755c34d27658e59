"""Wrong input of `uddm export`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.command_line import Outcome
from tests.support.foreign import export

Run = Callable[..., Outcome]


def test_wrong_input_is_one_message(uddm: Run, converted: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").touch()
    assert "nothing is overwritten" in export(uddm, converted, full).err
    assert list(full.iterdir()) == [full / "mine.txt"]
    other = tmp_path / "other.yaml"
    other.write_text("model: 3\n")
    out = ("--out", tmp_path / "out", "--ckpt_path")
    for arguments, message in (
        ((tmp_path / "none.yaml", *out, "last"), "there is no such file or folder"),
        ((other, *out, converted / "checkpoints" / "last.ckpt"), "has no section `model`"),
        ((converted, *out, "none.ckpt"), "there is no such file"),
        ((converted, *out, other), "cannot be read as a checkpoint"),
        ((converted, *out, "last", "--weights", "best"), "invalid choice: 'best'"),
    ):
        outcome = uddm("export", *arguments)
        assert outcome.status == 2
        assert message in outcome.err
        assert not (tmp_path / "out").exists()


def test_a_checkpoint_must_have_its_vocabulary_size(uddm: Run, converted: Path, tmp_path: Path) -> None:
    path = converted / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"].pop("vocab_size")
    torch.save(content, path)
    outcome = export(uddm, converted, tmp_path / "out")
    assert outcome.status == 2
    assert "does not say how many ids" in outcome.err


def test_push_needs_a_token_and_a_repository(
    uddm: Run, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uddm_lightning.interop.export.get_token", lambda: None)
    for repository, message in (("name", "give a repository as OWNER/NAME"), ("owner/name", "`hf auth login`")):
        outcome = export(uddm, converted, tmp_path / "out", "--push", repository)
        assert outcome.status == 2
        assert message in outcome.err
        assert not (tmp_path / "out").exists()
