"""The card of an exported model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Outcome
from tests.support.foreign import export
from uddm_lightning.interop.model_card import card

Run = Callable[..., Outcome]


@pytest.mark.slow
def test_a_converted_run_is_exported_with_its_origin(uddm: Run, run: Path, tmp_path: Path) -> None:
    assert export(uddm, run, tmp_path / "before").status == 0
    assert not (tmp_path / "before" / "tokenizer.json").exists()
    about = (tmp_path / "before" / "README.md").read_text()
    assert "**Not measured.**" in about
    assert "Converted from `foreign.ckpt` (sha256 `" in about
    assert "* which rows: not known" in about
    assert uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last").status == 0
    assert export(uddm, run, tmp_path / "after").status == 0
    assert (tmp_path / "after" / "tokenizer.json").exists()
    about = (tmp_path / "after" / "README.md").read_text()
    assert "**The regime is not known:**" in about
    assert "judged by this one run" not in about


def test_the_card_of_a_run_without_a_manifest_states_it(uddm: Run, run: Path, tmp_path: Path) -> None:
    assert export(uddm, run, tmp_path / "out").status == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["process"]["schedule"]["class"] = "CosineSchedule"
    text = card(config, tmp_path)
    assert "Not known: the run has no manifest." in text
    assert "of the CosineSchedule" in text
