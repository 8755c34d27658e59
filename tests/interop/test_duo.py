"""Checkpoints in Duo's layout: the settings that are read, and the messages of refusals."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.support.foreign import SETTINGS, merged, save_foreign
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.duo import DuoCheckpoint
from uddm_lightning.interop.duo_config import recipe
from uddm_lightning.interop.known_texts import TEXTS

Change = Callable[[dict[str, Any]], object]


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
    assert made.supposed == []
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


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_those_of_the_configs(tmp_path: Path, raw: DiT, averaged: DiT, name: str) -> None:
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, "data.train", name)))
    content = yaml.safe_load((Path(__file__).parents[2] / "configs" / f"{TEXTS[name]}.yaml").read_text())
    assert recipe(duo, {}, None).config["data"]["source"] == content.get("data", content)["source"]


def test_a_checkpoint_of_udlm_without_time_conditioning(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    settings = merged(merged(SETTINGS, "algo.name", "udlm"), "algo.time_conditioning", False)
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, settings))
    assert duo.architecture["time_conditioning"] is False
    assert recipe(duo, {}, None).config["model"]["backbone"]["init_args"]["time_conditioning"] is False


def test_openwebtext_in_the_ids_of_gpt2_with_one_more(tmp_path: Path) -> None:
    V = 50_258
    networks = [DiT(V, hidden_size=16, n_blocks=2, n_heads=2, cond_dim=8) for _ in range(2)]
    data = {"train": "openwebtext-train", "valid": "openwebtext-valid", "tokenizer_name_or_path": "gpt2", "wrap": True}
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", *networks, {**SETTINGS, "data": data}))
    made = recipe(duo, {}, None).config["data"]
    assert made["source"]["init_args"]["path"] == "Skylion007/openwebtext"
    assert made["tokenizer"]["init_args"] == {"path": "gpt2", "vocab_size": V}
    assert made["packing"] == {"class_path": "WrappedPacking", "init_args": {"length": 16, "sentence": "document"}}


def test_missing_settings_have_defaults_and_are_reported(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    settings = {name: part for name, part in SETTINGS.items() if name not in ("optim", "loader", "training")}
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(settings, "data.wrap", False)))
    made = recipe(duo, {}, tmp_path / "tokenizer.json")
    assert set(made.supposed) == {
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


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_names_of_wrapped_models_are_those_of_the_model(tmp_path: Path, raw: DiT, averaged: DiT, prefix: str) -> None:
    def wrap(content: dict[str, Any]) -> None:
        state = content["state_dict"]
        content["state_dict"] = {f"backbone.{prefix}{name[len('backbone.') :]}": value for name, value in state.items()}
        content["state_dict"]["noise.sigma"] = torch.ones(1)

    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, SETTINGS, wrap))
    assert list(duo.raw) == [name for name, _ in raw.named_parameters()]
    assert duo.left_out == ["noise.sigma"]


def test_without_an_average_the_raw_weights_are_used(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, SETTINGS, lambda content: content.pop("ema"))
    duo = DuoCheckpoint(path)
    assert duo.averaged == duo.raw
    assert duo.ema_decay == 0.0


def put(key: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content[key] = value

    return change


def weight(name: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        if value is None:
            del content["state_dict"][f"backbone.{name}"]
        else:
            content["state_dict"][f"backbone.{name}"] = value

    return change


def shadow(number: int, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["ema"]["shadow_params"][number] = value

    return change


def reorder(content: dict[str, Any]) -> None:
    content["state_dict"] = OrderedDict(sorted(content["state_dict"].items()))


def twice(content: dict[str, Any]) -> None:
    content["state_dict"]["backbone.module.blocks.0.norm1.weight"] = torch.ones(16)


def drop_a_shadow(content: dict[str, Any]) -> None:
    content["ema"]["shadow_params"].pop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("state_dict", {}), r"holds no table `backbone\.vocab_embed\.embedding`"),
        (put("state_dict", 3), "holds no `state_dict`, so it is not in the layout"),
        (put("hyper_parameters", {}), "holds no `config`"),
        (put("hyper_parameters", {"config": 1}), "holds no `config`"),
        (put("hyper_parameters", None), "holds no `hyper_parameters`"),
        (put("global_step", "many"), "`global_step` is no number of steps"),
        (put("global_step", -1), "`global_step` is no number of steps"),
        (put("ema", 7), "holds no `ema`"),
        (put("ema", {"decay": 0.999}), "no list `shadow_params`"),
        (put("ema", {"decay": 0.99, "shadow_params": []}), r"`ema\.decay` in it is 0\.99, its settings say 0\.999"),
        (put("ema", {"decay": object, "shadow_params": []}), r"`ema\.decay` in it is no such value"),
        (put("ema", {"decay": 10**500, "shadow_params": []}), r"`ema\.decay` in it is no such value"),
        (put("ema", {"decay": 10**5000, "shadow_params": []}), "its pickle cannot be read as data"),
        (drop_a_shadow, r"`ema\.shadow_params` in it holds 29 tensors for 30 weights"),
        (shadow(0, 1.0), r"`ema\.shadow_params\[0\]` in it is no tensor"),
        (shadow(0, torch.ones(2).to_sparse()), r"`ema\.shadow_params\[0\]` in it is no tensor"),
        (shadow(0, torch.ones(1).expand(10**12)), r"`ema\.shadow_params\[0\]` in it is larger than its data"),
        (shadow(0, torch.ones(10**12, device="meta")), r"`ema\.shadow_params\[0\]` in it is larger than its data"),
        (shadow(1, torch.ones(8, 256).long()), r"`ema\.shadow_params\[1\]` in it holds no real numbers"),
        (
            shadow(5, torch.ones(17)),
            r"`ema\.shadow_params\[5\]` in it is of shape \(17,\), but the weight in its place, "
            r"`backbone\.blocks\.0\.norm1\.weight`, of shape \(16,\)",
        ),
        (weight("blocks.0.norm1.weight", None), r"`backbone\.blocks\.0\.norm1\.weight` is missing in it"),
        (weight("blocks.0.norm1.weight", torch.ones(15)), r"of shape \(15,\) in it and of shape \(16,\) in our"),
        (weight("blocks.0.norm1.weight", "text"), r"`backbone\.blocks\.0\.norm1\.weight` in its .* is no tensor"),
        (weight("cond_map.embedding", torch.ones(3)), r"of shape \(3,\) in it and missing in our network"),
        (weight("rotary_emb.inv_freq", torch.ones(2)), r"`rotary_emb\.inv_freq` does not belong to `model\.n_heads`"),
        (weight("rotary_emb.inv_freq", torch.ones(4)), r"`rotary_emb\.inv_freq` does not belong to `model\.n_heads`"),
        (weight("\x1b[31m", torch.ones(1)), "a name in its `state_dict` is no text"),
        (twice, r"`backbone\.blocks\.0\.norm1\.weight` twice"),
        (reorder, "another order than Duo's"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, raw: DiT, averaged: DiT, change: Change, message: str) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw, averaged, SETTINGS, change)
    with pytest.raises(InputError, match=message):
        DuoCheckpoint(path)


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


def test_nan_weights_are_refused(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    with torch.no_grad():
        raw.blocks[1].attn_out.weight[0, 0] = torch.nan
    path, message = save_foreign(tmp_path / "x.ckpt", raw, averaged, SETTINGS), r"attn_out\.weight` in it holds NaN"
    duo = DuoCheckpoint(path)
    with pytest.raises(InputError, match=message):
        duo.copy(duo.raw, DiT(21, **duo.architecture))


def test_half_precision_is_preserved(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    path = save_foreign(tmp_path / "x.ckpt", raw.bfloat16(), averaged.half(), SETTINGS)
    duo = DuoCheckpoint(path)
    mine = DiT(21, **duo.architecture)
    duo.copy(duo.averaged, mine)
    for name, parameter in averaged.named_parameters():
        assert torch.equal(mine.get_parameter(name), parameter.float())
