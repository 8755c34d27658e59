"""What no number of a config can mean, whichever key it stands under."""

from collections.abc import Mapping
from typing import Any

from uddm_lightning.errors import InputError

LARGEST = 2**32 - 1  # whole number: the largest that may be a seed
FLOAT32 = 3.4028234663852886e38  # the largest that a weight can be

# Of keys that neither this package's constructors nor Lightning's trainer check: with what lies outside, Lightning
# divides by zero in the middle of a run, or silently does nothing.
RANGES = {
    "threads": (1, 1024),
    "data.num_workers": (0, 1024),
    "trainer.max_steps": (-1, LARGEST),
    "trainer.min_steps": (0, LARGEST),
    "trainer.max_epochs": (-1, LARGEST),
    "trainer.min_epochs": (0, LARGEST),
    "trainer.val_check_interval": (1, LARGEST),
    "trainer.check_val_every_n_epoch": (1, LARGEST),
    "trainer.log_every_n_steps": (0, LARGEST),
    "trainer.accumulate_grad_batches": (1, LARGEST),
    "trainer.gradient_clip_val": (0, FLOAT32),
}


def check_numbers(config: Mapping[str, Any]) -> None:
    """Refuses numbers that are none, too large for anything, or outside the range of their key.

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
    for key in ("trainer.max_steps", "trainer.max_epochs"):
        if config.get(key) == 0:
            raise InputError(f"`{key}` is 0, which trains nothing; give at least 1, or -1 for no limit.")
    if isinstance(interval := config.get("trainer.val_check_interval"), str | dict):
        raise InputError(
            f"`trainer.val_check_interval` is {interval!r}, and when a run is measured would depend on the clock; give "
            "a number of micro-batches."
        )
