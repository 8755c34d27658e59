"""Checkpoints are written whole or not at all, looked at before they are used, and never run code."""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from typing_extensions import override

from uddm_lightning.config import keys as config_keys
from uddm_lightning.config.keys import Change
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_atomically
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.training.task import DiffusionTask

TO_MEASURE = {"state_dict": dict, "hyper_parameters": dict, "global_step": int, "pytorch-lightning_version": str}
TO_GO_ON = {**TO_MEASURE, "epoch": int, "loops": dict, "optimizer_states": list, "lr_schedulers": list}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


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


class LastCheckpoint(ModelCheckpoint):
    """Saves after each validation, so that no checkpoint lacks its measurements, into the folder of the run.

    Lightning's own asks the first logger for a folder, where neither a resumed run nor a measurement would look.
    """

    def __init__(self) -> None:
        super().__init__(
            filename="last",
            every_n_epochs=1,  # with `save_on_train_epoch_end`: after each validation
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    @property
    def saved_step(self) -> int:
        """Optimizer steps behind the last checkpoint that this process wrote; 0 where it wrote none."""
        return int(self._last_global_step_saved)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.dirpath = str(run_folder.checkpoint_path(Path(trainer.default_root_dir).absolute(), "last").parent)
        super().setup(trainer, pl_module, stage)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes nothing over: where a run lies may have changed, and the last checkpoint has no score."""


def check_callbacks(callbacks: Sequence[Callback], folder: Path, own_folder: bool) -> None:
    """Keeps the names of the run's own checkpoints free.

    Args:
        callbacks: of the user.
        folder: of the run.
        own_folder: whether a callback that names no folder writes into the run's.

    Raises:
        InputError: a `ModelCheckpoint` would write, and later remove, files of these names.
    """
    ours = run_folder.checkpoint_path(folder.absolute(), "last").parent
    for callback in callbacks:
        if not isinstance(callback, ModelCheckpoint):
            continue
        here = own_folder if callback.dirpath is None else Path(callback.dirpath).absolute() == ours.resolve()
        if here and (callback.save_last or callback.filename in run_folder.CHECKPOINTS):
            raise InputError(
                f"`trainer.callbacks`: a `ModelCheckpoint` would write `last.ckpt` or `previous.ckpt` in `{ours}`, "
                "where the run keeps its own. Give it a `dirpath`, or another `filename` and no `save_last`."
            )


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """As `torch.save`, which reports an error of the file system, and Ctrl-C, as an error of its own."""
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError | KeyboardInterrupt):
            cause = cause.__context__
        raise (cause or error) from None


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
    path = run_folder.checkpoint_path(folder, given) if given in run_folder.CHECKPOINTS else Path(given)
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


def load(path: Path, to_go_on: bool = False) -> dict[str, Any]:
    """Contents of a checkpoint, loaded as data only.

    Args:
        path: the file.
        to_go_on: it must also hold what training needs to go on.

    Raises:
        InputError: the file is damaged, holds more than data, or is not a checkpoint of a `DiffusionTask`.
    """
    try:
        _check_sums(path)
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that is not what it should be makes its reader raise anything
        raise InputError(
            f"`--ckpt_path {path}` cannot be read as a checkpoint: it is damaged, of another kind, or holds objects "
            f"other than data, which are never loaded ({_first_line(error)}).{_way_out(path)}"
        ) from error
    held = checkpoint if isinstance(checkpoint, dict) else {}
    for name, kind in (TO_GO_ON if to_go_on else TO_MEASURE).items():
        value = held.get(name)
        if not isinstance(value, kind) or value in ({}, []):
            raise InputError(f"`--ckpt_path {path}` is no checkpoint of `uddm fit`: it holds no `{name}`.")
    state = held["state_dict"]
    for name, value in state.items():
        plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
        if not (isinstance(name, str) and plain):
            raise InputError(f"`--ckpt_path {path}` is no checkpoint of `uddm fit`: `{name}` in it is no tensor.")
    if not any(name.startswith("ema.backbone.") for name in state):
        raise InputError(
            f"`--ckpt_path {path}` is no checkpoint of `uddm fit`: it holds no averaged weights `ema.backbone.*`."
        )
    return held


def _check_sums(path: Path) -> None:
    """Compares every record with its checksum, about a second for a gigabyte: `torch.load` does not.

    A flipped bit would otherwise be a slightly different network.
    """
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"its record {name!r} is not as it was written")


def check_fits(path: Path, task: DiffusionTask, to_go_on: bool = False) -> None:
    """Compares a checkpoint with the model that is to take its weights.

    Raises:
        InputError: another vocabulary, another network, or weights that are no numbers; or as `load`.
    """
    checkpoint = load(path, to_go_on)
    there = checkpoint["hyper_parameters"].get("vocab_size")
    here = task.process.vocab_size
    if there != here:
        raise InputError(
            f"`--ckpt_path {path}` has a vocabulary of {there} ids, the configured data one of {here}. Use the "
            "`config.yaml` beside the checkpoint (and the same text)."
        )
    theirs, ours = checkpoint["state_dict"], task.state_dict()
    for name in sorted(theirs.keys() | ours.keys()):
        kinds = [_kind(state[name]) if name in state else None for state in (theirs, ours)]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"`--ckpt_path {path}` holds another network than `model.backbone` describes: `{name}` is {kinds[0]} "
                f"there and {kinds[1]} here. Use the `config.yaml` beside the checkpoint."
            )
    for name, _ in task.named_parameters():  # a buffer may hold the logarithm of 0
        if not theirs[name].isfinite().all():
            raise InputError(
                f"`--ckpt_path {path}`: `{name}` holds NaN or infinity, of which nothing can be measured. Use an "
                "earlier checkpoint, or train again."
            )


def check_same_model(path: Path, checkpoint: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Compares the model that a checkpoint was saved with to the one that is to take its weights.

    Other settings may have the same shapes: the number of heads, or what the logits mean.

    Args:
        path: of the checkpoint.
        checkpoint: its contents.
        model: the section `model` of a config.

    Raises:
        InputError: a key differs that decides what the model is.
    """
    found = model_changes(checkpoint, model)
    if decisive := config_keys.decisive(found, measuring=True):
        raise InputError(
            f"`--ckpt_path {path}` was saved by another model: {', '.join(map(str, decisive[: run_folder.SHOWN]))}. "
            "Use the `config.yaml` beside the checkpoint."
        )


def model_changes(checkpoint: Mapping[str, Any], model: Mapping[str, Any]) -> list[Change]:
    """Keys in which the model of a checkpoint differs from the section `model` of a config."""
    theirs = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    return config_keys.changes({"model": theirs}, {"model": model})


def _kind(value: Tensor) -> str:
    """Shape, and dtype unless it is a floating one: weights may be kept in any precision."""
    return f"{tuple(value.shape)}" + ("" if value.dtype in FLOATS else f" of {value.dtype}")


def _way_out(path: Path) -> str:
    """What is left where the last checkpoint is damaged."""
    if path.name == "last.ckpt" and path.with_name("previous.ckpt").exists():
        return " Go on from the one before it with `--ckpt_path previous`."
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
