"""Checkpoints are written whole or not at all, looked at before they are used, and never run code."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from typing_extensions import override

from uddm_lightning.errors import InputError
from uddm_lightning.files import write_atomically
from uddm_lightning.task import DiffusionTask


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames.

    Lightning's own goes through the system's temporary folder: on another disk, that ends with a copy, and a program
    killed while copying leaves a torn checkpoint in the place of a good one.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))


def resolve(given: str, folder: Path) -> Path:
    """Path of a checkpoint; "last" stands for the last one of the run in `folder`.

    Raises:
        InputError: there is no such file.
    """
    path = folder / "checkpoints" / "last.ckpt" if given == "last" else Path(given)
    if path.is_file():
        return path
    if given == "last":
        raise InputError(
            f"`--ckpt_path last`: there is no `{path}`. Leave `--ckpt_path` out to start afresh, or name the run's "
            "folder with `--out`."
        )
    raise InputError(f"`--ckpt_path {given}`: there is no such file. Give the path of a `.ckpt` file, or `last`.")


def load(path: Path) -> dict[str, Any]:
    """Contents of a checkpoint, memory-mapped, loaded as data only.

    Raises:
        InputError: the file is damaged, holds more than data, or is not a checkpoint of a `DiffusionTask`.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise InputError(
            f"`--ckpt_path {path}` cannot be read as a checkpoint: it is damaged, of another kind, or holds objects "
            f"other than data, which are never loaded ({_first_line(error)})."
        ) from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not any(str(name).startswith("ema.backbone.") for name in state):
        raise InputError(
            f"`--ckpt_path {path}` is no checkpoint of `uddm fit`: it holds no averaged weights `ema.backbone.*`."
        )
    return checkpoint


def check_fits(path: Path, task: DiffusionTask) -> None:
    """Compares a checkpoint with the model that is to take its weights.

    Raises:
        InputError: another vocabulary, or another network.
    """
    checkpoint = load(path)
    there = checkpoint.get("hyper_parameters", {}).get("vocab_size")
    here = task.process.vocab_size
    if there != here:
        raise InputError(
            f"`--ckpt_path {path}` has a vocabulary of {there} ids, the configured data one of {here}. Use the "
            "`config.yaml` beside the checkpoint (and the same text)."
        )
    theirs, ours = checkpoint["state_dict"], task.state_dict()
    for name in sorted(theirs.keys() | ours.keys()):
        shapes = [tuple(state[name].shape) if name in state else None for state in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"`--ckpt_path {path}` holds another network than `model.backbone` describes: `{name}` is {shapes[0]} "
                f"there and {shapes[1]} here. Use the `config.yaml` beside the checkpoint."
            )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
