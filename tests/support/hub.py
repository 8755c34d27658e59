"""Folders in the hub's layout: the references, and hostile ones."""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.toy_worlds import reference
from uddm_lightning.backbones import DiT

CONFIG = {
    "model_type": "udlm",
    "auto_map": {"AutoConfig": "hostile.Config", "AutoModelForMaskedLM": "hostile.Model"},
    "vocab_size": 21,
    "model_length": 16,
    "hidden_dim": 16,
    "cond_dim": 8,
    "n_blocks": 2,
    "n_heads": 2,
    "dropout": 0.1,
    "time_conditioning": True,
}
OF_GIDD = {
    "model_type": "dit",
    "vocab_size": 21,
    "max_seq_len": 16,
    "hidden_size": 16,
    "timestep_cond_dim": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "p_uniform": 0.2,
    "t_eps": 1e-4,
}
HOSTILE = "open('ran', 'w').close()\n"  # code beside the weights; it must not run


def reference_folder(name: str, into: Path) -> Path:
    """Copy a reference folder, so that tests may change it; skip the test without it."""
    shutil.copytree(reference(f"{name}/config.json").parent, into / name, copy_function=shutil.copyfile)
    os.chmod(into / name, 0o755)  # noqa: S103 the reference may be read-only
    return into / name


def hub_folder(into: Path, network: DiT, config: dict[str, Any] | None = None, prefix: str = "backbone.") -> Path:
    """Write a folder with the weights of a network, with code beside them."""
    into.mkdir()
    (into / "config.json").write_text(json.dumps(config or CONFIG))
    (into / "hostile.py").write_text(HOSTILE)
    save_file({prefix + name: value for name, value in network.state_dict().items()}, into / "model.safetensors")
    return into


def shard(folder: Path) -> dict[str, str]:
    """Split the weights of a folder into two files with an index; return its map."""
    weights = load_file(folder / "model.safetensors")
    names, files = sorted(weights), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    where = {name: files[number % 2] for number, name in enumerate(names)}
    for file in files:
        save_file({name: weights[name] for name in names if where[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    write_index(folder, where)
    return where


def write_index(folder: Path, where: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def raw_safetensors(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """Write a file with any header; `length` is what the file says of its size."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def weights_of(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(folder / "model.safetensors")
    return found


def needs_links() -> None:
    if not hasattr(os, "symlink"):
        pytest.skip("needs symbolic links")
