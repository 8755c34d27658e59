"""Checkpoints in Duo's layout: the settings that are read, and the messages of refusals."""

from collections import OrderedDict
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

Change = Callable[[dict[str, Any]], object]


def test_a_checkpoint_of_udlm_without_time_conditioning(tmp_path: Path, raw: DiT, averaged: DiT) -> None:
    settings = merged(merged(SETTINGS, "algo.name", "udlm"), "algo.time_conditioning", False)
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, settings))
    assert duo.architecture["time_conditioning"] is False
    assert recipe(duo, {}, None).config["model"]["backbone"]["init_args"]["time_conditioning"] is False


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
