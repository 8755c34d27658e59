"""Estimates for a run: ids, parameters, memory, disk space and processes."""

import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.config.trainer_section import device_count
from uddm_lightning.data import CharacterTokenizer, Tokenizer
from uddm_lightning.data.tokenizers.learned import LearnedTokenizer
from uddm_lightning.preflight.hub import DownloadSize
from uddm_lightning.runs.instantiate import build_optimizer, build_plugin

BYTES_PER_TOKEN = 4.75  # of English text in WordPiece or BPE tokens; 4.4 to 5 in the corpora of `configs/`
FLOAT_BYTES = 4


class Processes(NamedTuple):
    """Processes of a run.

    Attributes:
        world_size: number of processes.
        per_node: number of processes on each node.
        on_gpu: whether each process uses a GPU.
    """

    world_size: int
    per_node: int
    on_gpu: bool


def processes(trainer: dict[str, Any]) -> Processes:
    """Return the processes that the settings of a trainer start on this machine."""
    accelerator, gpus = trainer["accelerator"], torch.cuda.device_count()
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    all_devices = str(trainer["devices"]) in ("auto", "-1")
    per_node = max(1, gpus if on_gpu else 1) if all_devices else device_count(trainer["devices"])
    return Processes(per_node * int(trainer["num_nodes"]), per_node, on_gpu)


def vocab_size(tokenizer: dict[str, Any], downloads: Iterable[DownloadSize]) -> int | None:
    """Return V, an upper bound for a learned tokenizer, or None if V is unknown before the text is read.

    Args:
        tokenizer: configuration of the tokenizer. The tokenizer is created unless it needs a download.
        downloads: downloads of the run.

    Raises:
        InputError: an argument of the tokenizer is wrong.
    """
    models = [download for download in downloads if download.download.kind == "model"]
    if any(model.cached == 0 for model in models):
        return next((model.known.vocab_size for model in models if model.known), None)
    instance: Tokenizer = build_plugin(Tokenizer, "data.tokenizer", tokenizer)
    if isinstance(instance, LearnedTokenizer):
        return int(tokenizer["init_args"]["vocab_size"])
    try:
        return instance.vocab_size
    except RuntimeError:  # the vocabulary is fitted on the text
        return None


def estimate_pool_rows(config: dict[str, Any], text_bytes: int) -> int:
    """Return an estimate of the number of rows of a text."""
    packing, tokenizer = config["data"]["packing"]["init_args"], config["data"]["tokenizer"]["class_path"]
    characters = tokenizer.rpartition(".")[2] == CharacterTokenizer.__name__
    text_length = packing["length"] if characters else max(1, packing["length"] - 2)
    return int(text_bytes / (1.0 if characters else BYTES_PER_TOKEN) / text_length)


def num_parameters(backbone: dict[str, Any], vocab_size: int) -> int:
    """Return the number of trainable parameters of a backbone, without memory for its weights.

    Raises:
        InputError: an argument of the backbone is wrong.
    """
    with torch.device("meta"):
        instance = build_plugin(Callable[[int], Backbone], "model.backbone", backbone)(vocab_size)
    return sum(parameter.numel() for parameter in instance.parameters() if parameter.requires_grad)


def states_per_parameter(optimizer: dict[str, Any]) -> int:
    """Return the number of values that an optimizer stores per parameter, from one step on a small layer.

    An optimizer may treat matrices and other parameters differently; the larger number counts.

    Raises:
        InputError: an argument of the optimizer is wrong.
    """
    layer = nn.Linear(8, 8)
    instance = build_optimizer(optimizer, layer)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    instance.step()
    sizes = []
    for parameter in layer.parameters():
        states = [state for state in instance.state[parameter].values() if isinstance(state, torch.Tensor)]
        sizes.append(round(sum(state.numel() for state in states) / parameter.numel()))
    return max(sizes)


def kept_checkpoints(callbacks: list[dict[str, Any]] | None) -> int:
    """Return the number of checkpoints, of weights alone, that `uddm sweep --keep-checkpoints` keeps of each run."""
    given = [callback["init_args"] for callback in callbacks or [] if "init_args" in callback]
    keeps = any(arguments.get("save_weights_only") and arguments.get("save_top_k") == -1 for arguments in given)
    return max((len(arguments.get("steps", ())) for arguments in given), default=0) if keeps else 0


def disk_usage(writes: Iterable[tuple[Path, int]]) -> list[tuple[Path, int, int]]:
    """Return the first folder, the needed bytes and the free bytes of each file system.

    Args:
        writes: folders, which need not exist, and the bytes that the run writes there.
    """
    devices: dict[int, tuple[Path, Path, int]] = {}
    for folder, size in writes:
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        first, first_existing, total = devices.get(existing.stat().st_dev, (folder, existing, 0))
        devices[existing.stat().st_dev] = first, first_existing, total + size
    return [(folder, size, shutil.disk_usage(existing).free) for folder, existing, size in devices.values()]


def bytes_per_row(length: int, vocab_size: int) -> int:
    """Return the bytes of a row on disk: ids of 2 or 4 bytes, and one bit per position for special tokens."""
    return length * (2 if vocab_size <= 2**16 else 4) + math.ceil(length / 8)
