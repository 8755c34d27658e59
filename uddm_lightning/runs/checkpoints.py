"""Checkpoints: written atomically, checked before use, and loaded as data that cannot run code."""

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
from uddm_lightning.core.errors import InputError, first_line
from uddm_lightning.core.files import write_atomically
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.training.task import DiffusionTask

KEYS_TO_MEASURE = {"state_dict": dict, "hyper_parameters": dict, "global_step": int, "pytorch-lightning_version": str}
KEYS_TO_RESUME = {**KEYS_TO_MEASURE, "epoch": int, "loops": dict, "optimizer_states": list, "lr_schedulers": list}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file and renames it; the checkpoint that `last.ckpt` replaces is kept as `previous.ckpt`.

    Lightning writes to the temporary folder of the system. If that is on another disk, the file is copied, and a
    process that is killed while it copies leaves a damaged checkpoint.
    """

    written: Path | None = None  # the last checkpoint that this process has written

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)

        def write(temporary: Path) -> None:
            _save(checkpoint, temporary)
            if path.name == "last.ckpt" and (path == self.written or _is_valid(path)):
                _link(path, path.with_name("previous.ckpt"))

        for partial in path.parent.glob(f".{path.name}.*"):
            partial.unlink()  # left by a killed process; the lock of the run excludes other writers
        write_atomically(path, write)
        self.written = path if path.name == "last.ckpt" else self.written


class LastCheckpoint(ModelCheckpoint):
    """Saves `last.ckpt` to the folder of the run after each validation, so that every checkpoint has measurements.

    Lightning's callback would save to the folder of the first logger.
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
        """Number of optimizer steps of the last checkpoint that this process has written; 0 without one."""
        return int(self._last_global_step_saved)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.dirpath = str(run_folder.checkpoint_path(Path(trainer.default_root_dir).absolute(), "last").parent)
        super().setup(trainer, pl_module, stage)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load nothing: the folder of the run may have moved, and the last checkpoint has no score."""


def check_checkpoint_callbacks(callbacks: Sequence[Callback], folder: Path, own_folder: bool) -> None:
    """Check that no callback of the user writes `last.ckpt` or `previous.ckpt` of the run.

    Args:
        callbacks: of the user.
        folder: of the run.
        own_folder: whether a callback without `dirpath` writes to the folder of the run.

    Raises:
        InputError: a `ModelCheckpoint` would overwrite or remove them.
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
    """Call `torch.save`, but raise errors of the file system and Ctrl-C, which it wraps in a RuntimeError."""
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError | KeyboardInterrupt):
            cause = cause.__context__
        raise (cause or error) from None


def _is_valid(last: Path) -> bool:
    """Return whether a checkpoint of an earlier process can be loaded; a damaged one is not kept."""
    try:
        load(last)
    except InputError:
        return False
    return True


def _link(last: Path, previous: Path) -> None:
    """Link the last checkpoint under a second name, so that it is kept when the next one replaces it."""

    def link(temporary: Path) -> None:
        temporary.unlink()
        try:
            temporary.hardlink_to(last)
        except OSError:  # not every file system has links
            shutil.copyfile(last, temporary)

    write_atomically(previous, link)


def resolve(given: str, folder: Path) -> Path:
    """Return the path of a checkpoint.

    Args:
        given: a path, or "last" or "previous" for the last checkpoint of the run and the one before it.
        folder: of the run.

    Raises:
        InputError: there is no such file.
    """
    path = run_folder.checkpoint_path(folder, given) if given in run_folder.CHECKPOINTS else Path(given)
    if path.is_file():
        return path
    if given in run_folder.CHECKPOINTS:
        other = run_folder.newest_checkpoint(folder)
        way_out = (
            f"There is one for `--ckpt_path {other}`."
            if other
            else "The run has saved none yet, or this is not its folder: start afresh by `uddm fit` without "
            "`--ckpt_path`, or name the folder of the run with its `--out`."
        )
        raise InputError(f"`--ckpt_path {given}`: there is no `{path}`. {way_out}")
    raise InputError(
        f"`--ckpt_path {given}`: there is no such file. Give the path of a `.ckpt` file, `last` or `previous`."
    )


def load(path: Path, to_resume: bool = False) -> dict[str, Any]:
    """Return the content of a checkpoint, loaded as data only.

    Args:
        path: the file.
        to_resume: require the state that training needs to resume.

    Raises:
        InputError: the file is damaged, holds more than data, or is not a checkpoint of a `DiffusionTask`.
    """
    try:
        _verify_checksums(path)
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a wrong pickle may raise any exception
        raise InputError(
            f"`--ckpt_path {path}` cannot be read as a checkpoint: it is damaged, of another kind, or holds objects "
            f"other than data, which are never loaded ({first_line(error)}).{_previous_hint(path)}"
        ) from error
    held = checkpoint if isinstance(checkpoint, dict) else {}
    for name, kind in (KEYS_TO_RESUME if to_resume else KEYS_TO_MEASURE).items():
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


def _verify_checksums(path: Path) -> None:
    """Compare every record with its checksum, in about a second per gigabyte. `torch.load` does not check it.

    Without the check, a flipped bit would load as a slightly different network.
    """
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"its record {name!r} is not as it was written")


def check_fits(path: Path, task: DiffusionTask, to_resume: bool = False) -> None:
    """Check that a model can load the weights of a checkpoint.

    Raises:
        InputError: the vocabulary or the network differs, a weight is not finite, or `load` fails.
    """
    checkpoint = load(path, to_resume)
    there, here = checkpoint["hyper_parameters"].get("vocab_size"), task.process.vocab_size
    if there != here:
        raise InputError(
            f"`--ckpt_path {path}` has a vocabulary of {there} ids, the configured data one of {here}. Use the "
            "`config.yaml` beside the checkpoint (and the same text)."
        )
    saved, current = checkpoint["state_dict"], task.state_dict()
    for name in sorted(saved.keys() | current.keys()):
        kinds = [_kind(state[name]) if name in state else None for state in (saved, current)]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"`--ckpt_path {path}` holds another network than `model.backbone` describes: `{name}` is {kinds[0]} "
                f"there and {kinds[1]} here. Use the `config.yaml` beside the checkpoint."
            )
    for name, _ in task.named_parameters():  # buffers may be infinite, such as log(0)
        if not saved[name].isfinite().all():
            raise InputError(
                f"`--ckpt_path {path}`: `{name}` holds NaN or infinity, of which nothing can be measured. Use an "
                "earlier checkpoint, or train again."
            )


def check_same_model(path: Path, checkpoint: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Check that a checkpoint was saved by the model of a config.

    Equal shapes do not show it: the number of heads or the parameterization may differ.

    Args:
        path: of the checkpoint.
        checkpoint: its content.
        model: section `model` of a config.

    Raises:
        InputError: a key that identifies the model differs.
    """
    found = model_changes(checkpoint, model)
    if decisive := config_keys.decisive(found, measuring=True):
        raise InputError(
            f"`--ckpt_path {path}` was saved by another model: {', '.join(map(str, decisive[: run_folder.SHOWN]))}. "
            "Use the `config.yaml` beside the checkpoint."
        )


def model_changes(checkpoint: Mapping[str, Any], model: Mapping[str, Any]) -> list[Change]:
    """Return the keys in which the model of a checkpoint differs from the section `model` of a config."""
    saved = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    return config_keys.changes({"model": saved}, {"model": model})


def _kind(value: Tensor) -> str:
    """Return the shape, and the dtype unless it is floating: weights may be stored in any precision."""
    return f"{tuple(value.shape)}" + ("" if value.dtype in FLOATS else f" of {value.dtype}")


def _previous_hint(path: Path) -> str:
    """Return a hint to resume from the previous checkpoint if the last one is damaged."""
    if path.name == "last.ckpt" and path.with_name("previous.ckpt").exists():
        return " Go on from the one before it with `--ckpt_path previous`."
    return ""
