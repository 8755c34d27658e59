"""What a run needs: ids, parameters, memory, disk, processes."""

import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.config.parser import UddmParser, sanitize_message
from uddm_lightning.core.errors import InputError
from uddm_lightning.data import CharacterTokenizer, Tokenizer
from uddm_lightning.data.tokenizers.learned import LearnedTokenizer
from uddm_lightning.preflight.hub import Found
from uddm_lightning.training.trainer_access import device_count

BYTES_A_TOKEN = 4.75  # of text, in English word pieces and byte pairs; 4.4 to 5 in the corpora of `configs/`
FLOAT = 4  # bytes


class Processes(NamedTuple):
    """How a run is shared out.

    Attributes:
        world: processes in all.
        here: of these, on one node.
        on_gpu: whether each of them asks for a GPU.
    """

    world: int
    here: int
    on_gpu: bool


def processes(trainer: dict[str, Any]) -> Processes:
    """The processes that the settings of a trainer amount to on this machine."""
    accelerator, gpus = trainer["accelerator"], torch.cuda.device_count()
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    every = str(trainer["devices"]) in ("auto", "-1")
    here = max(1, gpus if on_gpu else 1) if every else device_count(trainer["devices"])
    return Processes(here * int(trainer["num_nodes"]), here, on_gpu)


def vocab_size(tokenizer: dict[str, Any], found: Iterable[Found]) -> int | None:
    """V; of a tokenizer that is still to be learned the most that it may be; None where nobody knows.

    Args:
        tokenizer: its configuration. It is made if nothing has to be fetched for it.
        found: what has to be fetched.

    Raises:
        InputError: its arguments are wrong.
    """
    fetched = [one for one in found if one.download.kind == "model"]
    if any(one.cached == 0 for one in fetched):
        return next((one.stated.vocab_size for one in fetched if one.stated), None)
    made: Tokenizer = _made(Tokenizer, tokenizer)
    if isinstance(made, LearnedTokenizer):
        return int(tokenizer["init_args"]["vocab_size"])
    try:
        return made.vocab_size
    except RuntimeError:  # all characters of a text that was not read yet
        return None


def pool_rows(config: dict[str, Any], text: int) -> int:
    """About how many rows a text of so many bytes gives."""
    packing, tokenizer = config["data"]["packing"]["init_args"], config["data"]["tokenizer"]["class_path"]
    characters = tokenizer.rpartition(".")[2] == CharacterTokenizer.__name__
    room = packing["length"] if characters else max(1, packing["length"] - 2)
    return int(text / (1.0 if characters else BYTES_A_TOKEN) / room)


def parameters(backbone: dict[str, Any], vocab: int) -> int:
    """Trainable parameters of a backbone that is not made.

    Raises:
        InputError: its arguments are wrong.
    """
    with torch.device("meta"):
        made = _made(Callable[[int], Backbone], backbone)(vocab)
    return sum(one.numel() for one in made.parameters() if one.requires_grad)


def optimizer_states(optimizer: dict[str, Any]) -> int:
    """Numbers that an optimizer keeps for each parameter, found by one step on a small matrix.

    Raises:
        InputError: its arguments are wrong.
    """
    weight = nn.Parameter(torch.zeros(8, 8))
    made = _made(OptimizerCallable, optimizer)([weight])
    weight.grad = torch.ones_like(weight)
    made.step()
    states = sum(one.numel() for one in made.state[weight].values() if isinstance(one, torch.Tensor))
    return round(states / weight.numel())


def _made(kind: Any, config: dict[str, Any]) -> Any:
    parser = UddmParser()
    parser.add_argument("--it", type=kind)
    try:
        return parser.instantiate(parser.parse_object({"it": config})).it
    except (ValueError, TypeError) as error:
        raise error if isinstance(error, InputError) else InputError(sanitize_message(str(error))) from error


def disks(needs: Iterable[tuple[Path, int]]) -> list[tuple[Path, int, int]]:
    """Needed and free bytes of every file system, by the first folder on it.

    Args:
        needs: folders, which need not exist, and bytes that will be written there.
    """
    together: dict[int, tuple[Path, int]] = {}
    for folder, size in needs:
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        first, so_far = together.get(there.stat().st_dev, (folder, 0))
        together[there.stat().st_dev] = first, so_far + size
    found = []
    for folder, size in together.values():
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        found.append((folder, size, shutil.disk_usage(there).free))
    return found


def row_bytes(length: int, vocab: int) -> int:
    """Bytes of a prepared row: ids of 2 or 4 bytes, and a bit for each special position."""
    return length * (2 if vocab <= 2**16 else 4) + math.ceil(length / 8)
