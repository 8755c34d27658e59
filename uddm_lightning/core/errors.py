"""Errors that people can mend, each one message without a traceback."""

import sys
from importlib.util import find_spec


class InputError(ValueError):
    """A config, file or command line is wrong; the message names the key or file, the value and the way out.

    The command line prints the message without a traceback and exits with status 2.
    """


class DiskFullError(RuntimeError):
    """There is no space left where something is written; the message names the file and the way out.

    The command line prints the message without a traceback and exits with status 1: nothing is wrong with the input.
    """


def require(package: str, extra: str, who: str) -> None:
    """Looks for a package of an optional extra, without importing it.

    Args:
        package: its name for `import`.
        extra: of this program that installs it.
        who: what needs it, in the user's words.

    Raises:
        InputError: it is not installed.
    """
    try:
        there = find_spec(package) is not None
    except ValueError:  # of a module without a specification
        there = package in sys.modules
    if not there:
        raise InputError(f"{who}, which needs `{package}`: pip install 'uddm-lightning[{extra}]'.")
