"""Checkpoints are written whole or not at all, looked at before they are used, and never run code."""

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from typing_extensions import override

from uddm_lightning import run_folder
from uddm_lightning.errors import InputError
from uddm_lightning.files import write_atomically
from uddm_lightning.task import DiffusionTask


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames; the last checkpoint before it stays as `previous.ckpt`.

    Lightning's own goes through the system's temporary folder: on another disk, that ends with a copy, and a program
    killed while copying leaves a torn checkpoint in the place of a good one.
    """

    own: Path | None = None  # the last checkpoint, once this process has written it

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)

        def write(temporary: Path) -> None:
            _save(checkpoint, temporary)
            if path.name == "last.ckpt" and (path == self.own or _is_whole(path)):
                _link(path, path.with_name("previous.ckpt"))

        for torn in path.parent.glob(f".{path.name}.*"):
            torn.unlink()  # left by a program that was killed while it wrote; nobody else writes here now
        write_atomically(path, write)
        self.own = path if path.name == "last.ckpt" else self.own


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """As `torch.save`, which reports an error of the file system as one of its own."""
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def _is_whole(last: Path) -> bool:
    """Whether the last checkpoint of an earlier process is worth keeping: it may be why this one began from another."""
    try:
        load(last)
    except InputError:
        return False
    return True


def _link(last: Path, previous: Path) -> None:
    """Gives the last checkpoint a second name, under which it outlives the next one."""

    def link(temporary: Path) -> None:
        temporary.unlink()
        try:
            temporary.hardlink_to(last)
        except OSError:  # not every file system has links
            shutil.copyfile(last, temporary)

    write_atomically(previous, link)


def resolve(given: str, folder: Path) -> Path:
    """Path of a checkpoint; "last" and "previous" stand for the last of the run in `folder` and the one before it.

    Raises:
        InputError: there is no such file.
    """
    path = run_folder.checkpoint(folder, given) if given in run_folder.CHECKPOINTS else Path(given)
    if path.is_file():
        return path
    if given in run_folder.CHECKPOINTS:
        other = run_folder.newest_checkpoint(folder)
        raise InputError(
            f"`--ckpt_path {given}`: there is no `{path}`. "
            + (f"There is one for `--ckpt_path {other}`. " if other else "Leave `--ckpt_path` out to start afresh, or ")
            + "name the run's folder with `--out`."
        )
    raise InputError(
        f"`--ckpt_path {given}`: there is no such file. Give the path of a `.ckpt` file, `last` or `previous`."
    )


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
            f"other than data, which are never loaded ({_first_line(error)}).{_way_out(path)}"
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


def _way_out(path: Path) -> str:
    """What is left where the last checkpoint is damaged."""
    if path.name == "last.ckpt" and path.with_name("previous.ckpt").exists():
        return " Go on from the one before it with `--ckpt_path previous`."
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
