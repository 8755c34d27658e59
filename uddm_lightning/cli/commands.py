"""The list of commands, their help texts, and suggestions for a name that does not exist."""

from collections.abc import Callable
from pathlib import Path

from uddm_lightning.core.errors import InputError, suggest
from uddm_lightning.core.imports import import_quickly

LIGHTNING = ("fit", "validate", "test", "predict")

# Commands beside Lightning's: each is a function in the module of the same name in `uddm_lightning.commands`, which is
# imported when it is run.
COMMANDS = (
    "sweep",
    "report",
    "sample",
    "probe",
    "calibrate",
    "audit",
    "convert",
    "export",
    "preflight",
    "doctor",
    "configs",
    "demo",
)
HELP = Path(__file__).parent / "help"
ALL_OPTIONS = "\nAll options\n"  # heading of the part of a help text that `-h` leaves out


def find_command(name: str) -> Callable[[list[str]], int]:
    """Return the function that runs a command beside Lightning's; it takes arguments and returns an exit status."""
    command: Callable[[list[str]], int] = getattr(import_quickly(f"uddm_lightning.commands.{name}"), name)
    return command


def check_command(name: str) -> None:
    """Check that a command exists.

    Raises:
        InputError: it does not; the message names the nearest one.
    """
    names = [*LIGHTNING, *COMMANDS]
    if name not in names:
        raise InputError(f"`uddm {name}`: there is no such command{suggest(name, names)} Commands: {', '.join(names)}.")


def help_text(name: str, short: bool = False) -> str:
    """Return the stored help of a command, without the list of all options if `short`; "" is the program's own help.

    The texts are files because the parser takes seconds to import. `.ci/store_help.py` writes them.
    """
    text = (HELP / f"{name or 'uddm'}.txt").read_text(encoding="utf-8")
    summary, heading, _ = text.partition(ALL_OPTIONS)
    return f"{summary}\n`uddm {name} --help` lists all options.\n" if short and heading else text
