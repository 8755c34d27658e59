"""The mask token is found in a tokenizer and taken out of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import models

from tests.interop.conftest import network
from tests.support.hub import hub_folder
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.hub_folder import HubFolder
from uddm_lightning.interop.hub_tokenizer import find_mask, take_out_mask, without_token

WORDS = {"a": 0, "<mask>": 1, "b": 2, "hole": 3}


def content(**more: Any) -> str:
    return json.dumps({"model": {"vocab": WORDS}, **more})


def test_the_config_of_the_tokenizer_names_the_mask_before_usual_names() -> None:
    assert find_mask(content(), {}) == 1
    assert find_mask(content(), {"mask_token": "hole"}) == 3
    assert find_mask(content(), {"mask_token": {"content": "hole"}}) == 3
    assert find_mask(content(), {"mask_token": "none"}) is None
    assert find_mask(json.dumps({"model": {"vocab": [["a", 0.0], ["[MASK]", -1.0]]}}), {}) == 1
    assert find_mask(json.dumps({"model": {"vocab": {"a": 0}}}), {}) is None


def test_larger_ids_become_smaller_by_one() -> None:
    added = [{"id": 1, "content": "<mask>"}, {"id": 3, "content": "hole"}]
    found = json.loads(without_token(content(added_tokens=added, post_processor={"ids": [3]}), 1))
    assert found["model"]["vocab"] == {"a": 0, "b": 1, "hole": 2}
    assert found["added_tokens"] == [{"id": 2, "content": "hole"}]
    assert found["post_processor"] is None
    assert without_token(content(), 9) == content()
    listed = json.dumps({"model": {"vocab": [["a", 0.0], ["b", -1.0]]}})
    assert json.loads(without_token(listed, 0))["model"]["vocab"] == [["b", -1.0]]


@pytest.mark.parametrize("damaged", ["[]", '{"model": {}}', '{"model": {"vocab": {"a": "b"}}}', "{"])
def test_damaged_tokenizers_are_refused(tmp_path: Path, damaged: str) -> None:
    with torch.no_grad():
        folder = HubFolder(hub_folder(tmp_path / "model", network(1)))
    with pytest.raises(ValueError, match=r"."):
        find_mask(damaged, {})
    with pytest.raises(InputError, match=r"its `tokenizer\.json` is damaged"):
        take_out_mask(folder, damaged, {})


def test_the_usual_id_stands_for_a_mask_that_is_not_named(tmp_path: Path) -> None:
    with torch.no_grad():
        folder = HubFolder(hub_folder(tmp_path / "model", network(1)))
    assert take_out_mask(folder, None, {}, usual=3) == (3, False, None)
    assert take_out_mask(folder, None, {}) == (None, False, None)
    named = take_out_mask(folder, content(), {}, usual=3)
    assert (named.mask_id, named.is_named) == (1, True)
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, "a"))
    unnamed = take_out_mask(folder, backend.to_str(), {}, usual=1)
    assert (unnamed.mask_id, unnamed.is_named) == (1, False)
    assert unnamed.tokenizer is not None
    assert tokenizers.Tokenizer.from_str(unnamed.tokenizer).get_vocab() == {"a": 0, "c": 1}
