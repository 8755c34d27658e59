"""Typed access to attributes of a Lightning trainer."""

from contextlib import nullcontext
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.data import TextDataModule


class NullProfiler(PassThroughProfiler):
    """Time nothing, without Lightning's generator for each of the 170 actions of a step."""

    @override
    def profile(self, action_name: str) -> Any:
        return _NOTHING


_NOTHING = nullcontext()


def data_of(trainer: Trainer) -> TextDataModule:
    """Return the data module of a trainer.

    Raises:
        InputError: the trainer has no `TextDataModule`.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, TextDataModule):
        raise InputError(f"Measuring needs a `TextDataModule` or a subclass, got `{type(data).__name__}`.")
    return data


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Return the callbacks of a trainer, in the order in which they run."""
    attributes: Any = trainer
    return list(attributes.callbacks)


def is_dry_run(trainer: Trainer) -> bool:
    """Return whether this is a `fast_dev_run`, which writes no files."""
    attributes: Any = trainer
    return bool(attributes.fast_dev_run)
