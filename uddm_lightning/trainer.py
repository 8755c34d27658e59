"""What a Lightning trainer holds without declaring it, with its types."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from uddm_lightning.data import TextDataModule
from uddm_lightning.errors import InputError


def data_of(trainer: Trainer) -> TextDataModule:
    """The data module of a trainer.

    Raises:
        InputError: it has another kind of data module, or none.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, TextDataModule):
        raise InputError(f"Measuring needs a `TextDataModule` or a subclass, got `{type(data).__name__}`.")
    return data


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a trainer, in the order in which they run."""
    attributes: Any = trainer
    return list(attributes.callbacks)


def is_dry_run(trainer: Trainer) -> bool:
    """Whether this is a `fast_dev_run`, which leaves no files behind."""
    attributes: Any = trainer
    return bool(attributes.fast_dev_run)
