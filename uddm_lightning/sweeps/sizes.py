"""Parse `--sizes`: lists, geometric ranges and fractions, converted to numbers of rows."""

import math
from collections.abc import Callable
from typing import NamedTuple

from uddm_lightning.core.errors import InputError

WAY_OUT = (
    "give a list such as 8,64,512, a range such as 2:8192:x4 (each four times the one before), fractions of the pool "
    "such as 0.001,0.01,1.0, or auto."
)
AUTO = "auto"
LONGEST = 10_000  # sizes of a range; more would be a mistake in the factor
FEWEST = 4  # smallest `--budget`


class Option(NamedTuple):
    """An option that takes a list of numbers and ranges.

    Attributes:
        name: with its dashes.
        way_out: what to give, for error messages.
    """

    name: str
    way_out: str


SIZES = Option("--sizes", WAY_OUT)


def parse(text: str, rows_of: Callable[[int | float], int], option: Option = SIZES) -> list[int]:
    """Return the sizes in rows, ascending, without repetition.

    Args:
        text: a comma-separated list whose items are numbers or ranges `first:last:xfactor`; an integer is a number of
            rows, a float a fraction of the pool.
        rows_of: converts a size to rows, and refuses one that the pool does not hold.
        option: named in error messages.

    Raises:
        InputError: the text has another form.
    """
    sizes: set[int] = set()
    for item in text.split(","):
        sizes.update(rows_of(size) for size in _range(item.strip(), text, option))
    return sorted(sizes)


def default_text(end: int) -> str:
    """Return the value of `--sizes` if it is not given: 2 to `end` rows, each four times the one before."""
    return f"{min(2, end)}:{end}:x4,{end}"


def is_auto(text: str | None) -> bool:
    """Return whether `--sizes` lets the program choose."""
    return text is not None and text.partition(":")[0] == AUTO


def check_budget(text: str | None, budget: int | None) -> None:
    """Check that `--budget` is given with `--sizes auto`, and only with it.

    Args:
        text: `--sizes`; None is not given.
        budget: `--budget`; None is not given.

    Raises:
        InputError: one is given without the other, or the budget is too small.
    """
    if not is_auto(text):
        if budget is not None:
            raise InputError(f"`--budget {budget}` needs `--sizes auto`, which chooses the sizes to train.")
    elif budget is None or budget < FEWEST:
        raise InputError(
            f"`--sizes auto` needs `--budget R`, the number of sizes to train, at least {FEWEST}; got {budget}."
        )


def _range(item: str, text: str, option: Option) -> list[int | float]:
    parts = item.split(":")
    if len(parts) == 1:
        return [number(item, text, option)]
    if len(parts) != 3 or not parts[2].startswith("x"):
        raise InputError(f"`{option.name} {text}`: {item!r} is no range; {option.way_out}")
    first, last, factor = (number(part, text, option) for part in (parts[0], parts[1], parts[2][1:]))
    if type(first) is not type(last):
        raise InputError(f"`{option.name} {text}`: {item!r} mixes whole numbers and fractions; {option.way_out}")
    if not 0 < first <= last or factor <= 1 or not math.isfinite(factor):
        raise InputError(
            f"`{option.name} {text}`: {item!r} must rise from above 0 by a factor above 1; {option.way_out}"
        )
    number_of_steps = math.log(last / first) / math.log(factor)
    if number_of_steps > LONGEST:
        raise InputError(f"`{option.name} {text}`: {item!r} has more than {LONGEST:,} values; give a larger factor.")
    exact = [first * factor**step for step in range(int(number_of_steps + 1e-9) + 1)]
    return [round(size) for size in exact] if isinstance(first, int) else [min(1.0, size) for size in exact]


def number(word: str, text: str, option: Option = SIZES) -> int | float:
    """Return an integer or a float as it is written: 1 is one row, 1.0 is the whole pool.

    Raises:
        InputError: the word is not a number.
    """
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    raise InputError(f"`{option.name} {text}`: {word!r} is no number; {option.way_out}")
