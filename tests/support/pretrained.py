"""Tiny models of `transformers` with random weights, in folders, for tests that need no network access."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers
from torch import nn

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]", *"abcdefghijklmnopqrstuvw"]  # the mask is in the middle
GEMMA_WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", *"abcdefghijklmnopqrst"]
STATES, MASK, LENGTH = 32, 3, 12


def transformers() -> Any:
    """Return the library; the test is skipped without it."""
    return pytest.importorskip("transformers", reason="needs the extra `hub`")


def save_masked_lm(folder: Path, max_positions: int = LENGTH, **changes: Any) -> Any:
    """Write a tiny BERT with a tokenizer that has fewer ids than the network; return the network."""
    library = transformers()
    torch.manual_seed(0)
    config = library.BertConfig(
        vocab_size=STATES,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=max_positions,
        **changes,
    )
    network = library.BertForMaskedLM(config).eval()
    _randomize(network)
    network.save_pretrained(folder)
    _save_tokenizer(folder, WORDS, "[UNK]")
    (folder / "tokenizer_config.json").write_text(json.dumps({"mask_token": "[MASK]"}))
    return network


def save_block_diffusion(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Write a tiny DiffusionGemma with a tokenizer; return the network."""
    library = transformers()
    if not hasattr(library, "DiffusionGemmaForBlockDiffusion"):
        pytest.skip("this transformers has no DiffusionGemma; 5.24 has it")
    torch.manual_seed(0)
    text = library.DiffusionGemmaTextConfig(
        vocab_size=24,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        global_head_dim=16,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    )
    vision = library.Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        position_embedding_size=16,
    )
    config = library.DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=LENGTH)
    network = library.DiffusionGemmaForBlockDiffusion(config).eval()
    _randomize(network)
    network = network.to(dtype)
    network.save_pretrained(folder)
    _save_tokenizer(folder, GEMMA_WORDS, "<unk>")
    return network


@torch.no_grad()
def _randomize(network: nn.Module) -> None:
    """Replace small initial weights, with which all predictions would be nearly uniform."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.3)


def _save_tokenizer(folder: Path, words: list[str], unknown: str) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({word: one for one, word in enumerate(words)}, unknown))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.add_special_tokens([word for word in words if len(word) > 1])
    backend.save(str(folder / "tokenizer.json"))
