"""Errors that the user can fix. The command line prints each as one message, without a traceback."""

import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class InputError(ValueError):
    """Error for an invalid config, file or command line.

    The message names the key or file, the value and the way out. The command line exits with status 2.
    """


class DiskFullError(RuntimeError):
    """Error for a write that failed because no disk space is left.

    The message names the file and the way out. The command line exits with status 1, because the input is valid.
    """


def require_package(package: str, extra: str, reason: str) -> None:
    """Raise an error if a package of an optional extra is not installed. The package is not imported.

    Args:
        package: import name of the package.
        extra: name of the extra of `uddm-lightning` that installs it.
        reason: beginning of the message: the setting that needs the package.

    Raises:
        InputError: the package is not installed.
    """
    try:
        installed = find_spec(package) is not None
    except ValueError:  # raised for an imported module without a specification
        installed = package in sys.modules
    if not installed:
        raise InputError(f"{reason}, which needs `{package}`: pip install 'uddm-lightning[{extra}]'.")


def check_at_least(smallest: int, prefix: str = "", **values: float | None) -> None:
    """Check that each value is at least `smallest`. None stands for a value that is not given.

    Args:
        smallest: the smallest allowed value.
        prefix: first part of the keys in the message, such as "data.".
        values: the values by name.

    Raises:
        InputError: a value is smaller; the message names it.
    """
    for name, value in values.items():
        if value is not None and value < smallest:
            raise InputError(f"`{prefix}{name}` must be at least {smallest}, got {value}.")


def check_within(interval: str, prefix: str = "", **values: float | None) -> None:
    """Check that each value is in an interval. None stands for a value that is not given.

    Args:
        interval: the interval, such as "[0, 1)" or "(0, 1]".
        prefix: first part of the keys in the message, such as "data.".
        values: the values by name.

    Raises:
        InputError: a value is outside; the message names it.

    Example:
        >>> check_within("[0, 1)", dropout=0.0)
        >>> check_within("[0, 1)", dropout=1.0)
        Traceback (most recent call last):
        uddm_lightning.core.errors.InputError: `dropout` must be in [0, 1), got 1.0.
    """
    low, high = map(float, interval[1:-1].split(","))
    for name, value in values.items():
        if value is None or low < value < high:
            continue
        if not (value == low and interval[0] == "[") and not (value == high and interval[-1] == "]"):
            raise InputError(f"`{prefix}{name}` must be in {interval}, got {value}.")


def sanitize_message(message: str) -> str:
    """Return the text of an error on one line, without repeated lines, with unprintable characters escaped."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    text = re.sub(r"\s+", " ", " ".join(dict.fromkeys(lines))).strip()
    # a name from a damaged or hostile file must not control the terminal
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def first_line(error: Exception) -> str:
    """Return the first line of the text of an error, or its type if it has none; at most 200 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the known name nearest to `name`, or a full stop if none is near."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{nearest[0]}`?" if nearest else "."
