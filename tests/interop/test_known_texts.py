"""Texts and tokenizers that foreign checkpoints name."""

from pathlib import Path

import pytest
import yaml

from tests.support.foreign import SETTINGS, merged, save_foreign
from uddm_lightning.backbones import DiT
from uddm_lightning.interop.duo import DuoCheckpoint
from uddm_lightning.interop.duo_config import recipe
from uddm_lightning.interop.known_texts import TEXTS


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_those_of_the_configs(tmp_path: Path, raw: DiT, averaged: DiT, name: str) -> None:
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", raw, averaged, merged(SETTINGS, "data.train", name)))
    content = yaml.safe_load((Path(__file__).parents[2] / "configs" / f"{TEXTS[name]}.yaml").read_text())
    assert recipe(duo, {}, None).config["data"]["source"] == content.get("data", content)["source"]


def test_openwebtext_in_the_ids_of_gpt2_with_one_more(tmp_path: Path) -> None:
    V = 50_258
    networks = [DiT(V, hidden_size=16, n_blocks=2, n_heads=2, cond_dim=8) for _ in range(2)]
    data = {"train": "openwebtext-train", "valid": "openwebtext-valid", "tokenizer_name_or_path": "gpt2", "wrap": True}
    duo = DuoCheckpoint(save_foreign(tmp_path / "x.ckpt", *networks, {**SETTINGS, "data": data}))
    made = recipe(duo, {}, None).config["data"]
    assert made["source"]["init_args"]["path"] == "Skylion007/openwebtext"
    assert made["tokenizer"]["init_args"] == {"path": "gpt2", "vocab_size": V}
    assert made["packing"] == {"class_path": "WrappedPacking", "init_args": {"length": 16, "sentence": "document"}}
