"""Texts and tokenizers that models of other programs name, by their shipped configs."""

from pathlib import Path
from typing import Any

import yaml

from uddm_lightning.config.config_files import shipped_configs

# Shipped configs of corpora, by the names of Duo, MDLM and UDLM.
TEXTS = {
    "lm1b": "paper/data/lm1b",
    "openwebtext": "corpora/openwebtext",
    "openwebtext-train": "corpora/openwebtext",
    "wikitext103": "corpora/wikitext103",
}
IDS = {"bert-base-uncased": 30_522, "gpt2": 50_257}  # numbers of ids of tokenizers on the hub


def known_text(name: str) -> dict[str, Any]:
    """Return the section `data` of the shipped config of a text in `TEXTS`."""
    content = yaml.safe_load(shipped_configs()[TEXTS[name]].read_text(encoding="utf-8"))
    data: dict[str, Any] = content.get("data", content)
    return data


def pretrained_tokenizer(path: str, vocab_size: int) -> dict[str, Any]:
    """Return the section `data.tokenizer` of a tokenizer by its file or name.

    Args:
        path: file, or name on the hub.
        vocab_size: V of the network, which may have more ids than the tokenizer: those of GPT-2 have one for padding.
    """
    ids = IDS.get(path, 0 if Path(path).suffix == ".json" else vocab_size)
    more = {"vocab_size": vocab_size} if vocab_size > ids else {}
    return {"class_path": "PretrainedTokenizer", "init_args": {"path": path, **more}}
