"""Settings of a checkpoint in Duo's layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.foreign import SETTINGS, merged, save_foreign
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.duo import DuoCheckpoint
from uddm_lightning.interop.duo_config import recipe


def test_settings_are_read_from_the_file(foreign: Path, raw: DiT, averaged: DiT) -> None:
    duo = DuoCheckpoint(foreign)
    assert (duo.step, duo.vocab_size, duo.ema_decay) == (1234, 21, 0.999)
    assert duo.architecture == {"hidden_size": 16, "n_blocks": 2, "n_heads": 2, "cond_dim": 8, "dropout": 0.1}
    made = recipe(duo, {}, None)
    for weights, theirs in ((duo.raw, raw), (duo.averaged, averaged)):
        mine = DiT(21, **duo.architecture)
        duo.copy(weights, mine)
        for name, parameter in theirs.named_parameters():
            assert torch.equal(mine.get_parameter(name), parameter), name
    config = made.config
    assert made.assumed == []
    assert config["seed_everything"] == 3
    assert config["data"]["source"]["init_args"]["source"]["init_args"]["path"] == "billion-word-benchmark/lm1b"
    assert config["data"]["tokenizer"] == {
        "class_path": "PretrainedTokenizer",
        "init_args": {"path": "bert-base-uncased"},
    }
    assert config["data"]["packing"] == {"class_path": "WrappedPacking", "init_args": {"length": 16}}
    assert (config["data"]["train_size"], config["data"]["batch_size"]) == (0.5, 64)
    model = config["model"]
    assert model["optimizer"]["init_args"] == {"lr": 2e-4, "betas": [0.8, 0.99], "eps": 1e-9, "weight_decay": 0.01}
    assert model["lr_schedule"]["init_args"] == {"warmup_steps": 7}
    assert model["objective"]["init_args"] == {"t_min": 0.002}
    assert model["process"]["init_args"]["schedule"]["init_args"] == {"eps": 1e-3}
    assert (model["ema_decay"], model["backbone_name"]) == (0.999, "toy")
    assert config["trainer"]["max_steps"] == 1234


def test_missing_settings_have_defaults_and_are_reported(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    settings = {name: part for name, part in SETTINGS.items() if name not in ("optim", "loader", "training")}
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(settings, "data.wrap", False)))
    made = recipe(duo, {}, tmp_path / "tokenizer.json")
    assert set(made.assumed) == {
        *("optim.lr", "optim.beta1", "optim.beta2", "optim.eps", "optim.weight_decay"),
        *("loader.global_batch_size", "training.sampling_eps"),
    }
    assert made.config["data"]["packing"]["class_path"] == "DocumentPacking"
    assert made.config["data"]["tokenizer"]["init_args"]["path"] == str(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("key", ["data.tokenizer_name_or_path", "model.length"])
def test_a_setting_without_a_default_must_be_given(tmp_path: Path, raw: DiT, averaged: DiT, key: str) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, key, None))
    duo = DuoCheckpoint(path)
    with pytest.raises(InputError, match=rf"does not say `{key}`: give `data\."):
        recipe(duo, {}, None)


def test_an_unknown_text_is_asked_for(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, "data.train", "diaries"))
    duo = DuoCheckpoint(path)
    with pytest.raises(InputError, match=r"'diaries', and no source of that text is known\. .* with `--config FILE`"):
        recipe(duo, {}, None)
    assert "source" not in recipe(duo, {"source": {}}, None).config["data"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("algo.name", "mdlm", "`algo.name` is 'mdlm', and only 'duo' or 'duo_base' or 'udlm' is known here"),
        ("algo.name", None, "`algo.name` is not there"),
        ("algo.parameterization", "subs", "`algo.parameterization` is 'subs', and only 'mean'"),
        ("algo.time_conditioning", 1, "`algo.time_conditioning` is 1, and only True or False"),
        ("algo.causal_attention", True, "`algo.causal_attention` is True, and only False"),
        ("algo.T", 1000, "`algo.T` is 1000, and only 0"),
        ("noise.type", "cosine", "`noise.type` is 'cosine', and only 'log-linear'"),
        ("noise.type", "${elsewhere}", "`noise.type` is not there"),
        ("model.hidden_size", 32, "say `model.hidden_size` = 32, its weights 16"),
        ("model.n_blocks", 3, "say `model.n_blocks` = 3, its weights 2"),
        ("model.cond_dim", 4, "say `model.cond_dim` = 4, its weights 8"),
        ("model.n_heads", None, "do not say `model.n_heads`"),
        ("model.n_heads", 3, "describe no network: `hidden_size` must be a multiple"),
        ("model.n_heads", 4, "does not belong to `model.n_heads` = 4"),
        ("model.dropout", 1.5, r"describe no network: `dropout` must be in \[0, 1\)"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, raw: DiT, averaged: DiT, key: str, value: Any, message: str
) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, key, value))
    with pytest.raises(InputError, match=message) as caught:
        DuoCheckpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("value", [lambda: 10**500, lambda: "\ud800", lambda: b"x", lambda: float("nan"), lambda: [1]])
def test_an_invalid_setting_is_treated_as_missing(
    tmp_path: Path, raw: DiT, averaged: DiT, value: Callable[[], Any]
) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, "model.dropout", value()))
    duo = DuoCheckpoint(path)
    assert duo.settings["model.dropout"] is None
    assert duo.architecture["dropout"] == 0.0
