"""Load exported models: a folder with `model.safetensors` and `config.json`.

Loading needs neither a config nor the command line.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from uddm_lightning.backbones import Backbone, DiT
from uddm_lightning.core.errors import InputError, first_line

FORMAT = 1  # of config.json; changes with the meaning of its keys
WEIGHTS, CONFIG, TOKENIZER, CARD = "model.safetensors", "config.json", "tokenizer.json", "README.md"
ARCHITECTURE = ("hidden_size", "n_blocks", "n_heads", "cond_dim", "time_conditioning")


def load_exported(folder: str | Path) -> Backbone:
    """Return the network of a folder that `uddm export` wrote, in evaluation mode on the CPU.

    `forward(tokens_BL, sigma_B)` takes noisy ids and noise levels -ln alpha_t, or times t for a `HybridProcess`; `head`
    maps its output to logits.
    `config.json` holds their parameterization and the noising process.

    Args:
        folder: folder of the exported model.

    Raises:
        InputError: a file is missing, damaged or of a newer version.
    """
    folder = Path(folder)
    config = read_config(folder)
    arguments = config["architecture"]
    try:
        backbone = DiT(
            config["states"], **{name: arguments[name] for name in ARCHITECTURE if name in arguments}, dropout=0.0
        )
        weights = load_file(str(folder / WEIGHTS))
        backbone.load_state_dict(weights)
    except Exception as error:  # of a damaged file: errors of its reader, of torch, of missing entries
        raise InputError(f"`{folder}` holds no exported model that can be read: {first_line(error)}") from error
    kind: torch.dtype = next(iter(weights.values())).dtype
    return backbone.to(kind).eval()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of an exported model's config.json.

    Raises:
        InputError: it is missing, damaged or of a newer version.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"`{path}` cannot be read: {error}. Name a folder that `uddm export` wrote.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(f"`{path}` is not of format {FORMAT}, the one that this version of uddm reads.")
    missing = [name for name in ("states", "architecture") if name not in config]
    if missing or config["architecture"].get("class") != DiT.__name__:
        raise InputError(f"`{path}` describes no {DiT.__name__}, the only network that is exported.")
    return config
