"""The command line, a foreign checkpoint with a matching text, and a run that is converted from it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from tests.support.command_line import Outcome
from tests.support.foreign import SETTINGS, save_foreign
from uddm_lightning.backbones import DiT

VOCABULARY = 21  # ids of the characters in the corpus of the tests


@torch.no_grad()
def network(seed: int, vocab_size: int = VOCABULARY) -> DiT:
    """Weights without zeros, so that every weight has an effect."""
    torch.manual_seed(seed)
    made = DiT(vocab_size, hidden_size=16, n_blocks=2, n_heads=2, cond_dim=8, dropout=0.1)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.eval()


@pytest.fixture
def raw() -> DiT:
    return network(1)


@pytest.fixture
def averaged() -> DiT:
    return network(2)


@pytest.fixture
def foreign(tmp_path: Path, raw: DiT, averaged: DiT) -> Path:
    return save_foreign(tmp_path / "foreign.ckpt", raw, averaged, SETTINGS)


@pytest.fixture
def text(tmp_path: Path, corpus: Path) -> Path:
    """A fragment with the text to measure on and few draws."""
    path = tmp_path / "text.yaml"
    content = {
        "threads": 1,
        "data": {
            "source": {"class_path": "TextFiles", "init_args": {"paths": str(corpus)}},
            "tokenizer": {"class_path": "CharacterTokenizer"},
            "eval_batch_size": 8,
            "num_train_rows": 8,
            "num_test_rows": 8,
            "num_sample_rows": 4,
            "num_random_rows": 4,
        },
        "model": {"sampler": {"class_path": "AncestralSampler", "init_args": {"steps": 5}}},
        "recovery": {"times": [0.1, 0.5], "weights": ["ema", "raw"]},
        "entropy": {"times": [0.1, 0.5]},
        "nelbo": {"times_per_row": 1},
        "trainer": {"accelerator": "cpu", "enable_progress_bar": False},
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def run(uddm: Callable[..., Outcome], foreign: Path, text: Path, tmp_path: Path) -> Path:
    """A converted run, which needs no training."""
    assert uddm("convert", foreign, "--out", tmp_path / "run", "-c", text).status == 0
    return tmp_path / "run"
