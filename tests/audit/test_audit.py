"""Results of an audit as plain data, and its checks."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uddm_lightning.audit.audit import audit, without_nan
from uddm_lightning.core.errors import InputError


def test_numbers_that_json_cannot_hold_become_null() -> None:
    content = {"a": [1, float("nan"), (float("inf"), 0.5)], "b": {"c": -float("inf")}, "d": "nan", "e": None}
    plain = without_nan(content)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain == {"a": [1, None, [None, 0.5]], "b": {"c": None}, "d": "nan", "e": None}


def test_a_reference_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    def run(vocab_size: int) -> Any:
        process = SimpleNamespace(vocab_size=vocab_size)
        model = SimpleNamespace(task=SimpleNamespace(process=process), length=8, threads=torch.get_num_threads())
        return SimpleNamespace(model=model, folder=tmp_path / str(vocab_size))

    with pytest.raises(InputError, match=r"`--reference .*/6` has another tokenizer .* 6 ids and 8 positions"):
        audit(run(5), "train", "pool", run(6))
