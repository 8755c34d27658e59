"""Ranges of the numbers in a config, and options of the trainer that have one value only."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from uddm_lightning.core.errors import InputError

LARGEST = 2**32 - 1  # largest integer of a config, and largest seed
FLOAT32 = 3.4028234663852886e38  # largest float32

# Ranges of keys that neither this package's constructors nor Lightning's trainer check. With values outside of them
# Lightning divides by zero during a run, or silently does nothing.
RANGES = {
    "threads": (1, 1024),
    "data.num_workers": (0, 1024),
    "trainer.max_steps": (-1, LARGEST),
    "trainer.min_steps": (0, LARGEST),
    "trainer.val_check_interval": (1, LARGEST),
    "trainer.log_every_n_steps": (0, LARGEST),
    "trainer.accumulate_grad_batches": (1, LARGEST),
    "trainer.gradient_clip_val": (0, FLOAT32),
}

NO_EPOCHS = "the stream of training rows has no epochs; set `trainer.max_steps` and `trainer.val_check_interval`"
FEWER_ROWS = "measure fewer rows with `data.num_train_rows`, `data.num_test_rows` or a probe's `num_rows`"

# Options of Lightning's trainer with their allowed values. Other values would restart or regroup the stream of training
# rows, in which the batch is a function of the step, or leave a run without measurements or checkpoints.
ONLY: dict[str, tuple[tuple[Any, ...], str]] = {
    "trainer.max_epochs": ((None, -1), NO_EPOCHS),
    "trainer.min_epochs": ((None, 0), NO_EPOCHS),
    "trainer.check_val_every_n_epoch": ((None,), NO_EPOCHS),
    "trainer.reload_dataloaders_every_n_epochs": ((0,), NO_EPOCHS),
    "trainer.limit_train_batches": (
        (None, 1.0),
        "the stream would begin again after so many batches; train fewer steps with `trainer.max_steps`, on fewer rows "
        "with `data.train_size`",
    ),
    "trainer.overfit_batches": ((0, 0.0), "train on fewer rows with `data.train_size`"),
    "trainer.limit_val_batches": ((None, 1.0), FEWER_ROWS),
    "trainer.limit_test_batches": ((None, 1.0), FEWER_ROWS),
    "trainer.limit_predict_batches": ((None, 1.0), "leave the lines out of the file"),
    "trainer.enable_checkpointing": ((None, True), "a run without checkpoints could neither go on nor be measured"),
    "trainer.barebones": ((False,), "a run without checkpoints could neither go on nor be measured"),
}


def fill_interval(trainer: MutableMapping[str, Any]) -> None:
    """Set `val_check_interval` to the last step if the config does not set it."""
    steps, accumulation = trainer.get("max_steps"), trainer.get("accumulate_grad_batches")
    if trainer.get("val_check_interval") is None and isinstance(steps, int) and isinstance(accumulation, int):
        trainer["val_check_interval"] = steps * accumulation if steps > 0 else None


def check_options(given: Mapping[str, Any], smallest: Mapping[str, int]) -> None:
    """Refuse options of a command that are below their smallest value or larger than `LARGEST`.

    Args:
        given: values by name; None is not given.
        smallest: smallest value by name.

    Raises:
        InputError: with option and value.
    """
    for name, least in smallest.items():
        if (value := given[name]) is not None and not least <= value <= LARGEST:
            raise InputError(
                f"`{'-' if len(name) == 1 else '--'}{name}` must be from {least} to {LARGEST}, got {value}."
            )


def check_numbers(config: Mapping[str, Any]) -> None:
    """Check that numbers are finite, not too large, and within the range of their key.

    Args:
        config: values by dotted key.

    Raises:
        InputError: with key and value.
    """
    for key, value in config.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, float) and not abs(number) <= FLOAT32:
                raise InputError(f"`{key}` is {number}; give a finite number that float32 can hold.")
            if isinstance(number, int) and abs(number) > LARGEST:
                raise InputError(f"`{key}` is {number}, and no whole number here is larger than {LARGEST}.")
    for key, (smallest, largest) in RANGES.items():
        number = config.get(key)
        if isinstance(number, int | float) and not smallest <= number <= largest:
            raise InputError(f"`{key}` must be from {smallest} to {largest}, got {number}.")
    if config.get("trainer.max_steps") == 0:
        raise InputError("`trainer.max_steps` is 0, which trains nothing; give at least 1, or -1 for no limit.")
    if isinstance(interval := config.get("trainer.val_check_interval"), str | dict):
        raise InputError(
            f"`trainer.val_check_interval` is {interval!r}, and when a run is measured would depend on the clock; give "
            "a number of micro-batches."
        )
    if isinstance(interval, float):
        raise InputError(
            f"`trainer.val_check_interval` is {interval}, a share of an epoch, and the stream of training rows has no "
            "epochs; give a number of micro-batches."
        )
    for key, (values, way_out) in ONLY.items():
        value = config.get(key, values[0])
        if not any(value == allowed and type(value) is type(allowed) for allowed in values):
            allowed = " or ".join("null" if allowed is None else str(allowed).lower() for allowed in values)
            raise InputError(f"`{key}` is {value}, and can only be {allowed}: {way_out}.")
