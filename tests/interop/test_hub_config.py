"""Configs of models in the hub's layout."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.interop.hub_config import EMA_DECAY, NO_TEXT, data_section, measured_config


def model(vocab_size: int) -> Any:
    return SimpleNamespace(vocab_size=vocab_size, length=12, notes=["a note"])


@pytest.mark.parametrize(("vocab_size", "text"), [(30_522, "lm1b"), (50_257, "openwebtext"), (21, None)])
def test_the_text_is_assumed_from_the_number_of_ids(vocab_size: int, text: str | None) -> None:
    foreign = model(vocab_size)
    data = data_section(foreign, {}, None)
    assert list(data) == ["source", "tokenizer", "packing"]
    assert data["packing"]["init_args"]["length"] == 12
    assert foreign.notes[0] == "a note"
    assert (text in foreign.notes[1]) if text else (foreign.notes[1] == NO_TEXT)
    assert ("text.txt" in str(data["source"])) == (text is None)


def test_parts_of_the_user_stand_in_for_those_of_the_model() -> None:
    foreign = model(21)
    data = data_section(foreign, {"source": 1, "packing": 2}, Path("own.json"))
    assert list(data) == ["tokenizer"]
    assert data["tokenizer"]["init_args"]["path"] == "own.json"
    assert foreign.notes == ["a note"]


def test_a_measured_run_does_not_train() -> None:
    config = measured_config({"a": 1}, {"backbone_name": "x"}, 0.25)
    assert config["model"] == {"backbone_name": "x", "ema_decay": EMA_DECAY}
    assert (config["nelbo"], config["trainer"]["max_steps"]) == ({"t_min": 0.25}, -1)
