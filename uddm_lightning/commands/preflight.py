"""The command `uddm preflight`: list the downloads and requirements of a run without starting it."""

import sys

from uddm_lightning.cli.resolve import resolve
from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight.hub import Hub
from uddm_lightning.preflight.requirements import requirements

HELP = """\
usage: uddm preflight -c CONFIG [any option of `uddm fit`]

Lists what `uddm fit` with the same arguments would download, how large that is and which part is
here already; the disk and memory it needs; parameters, rows and tokens; and whether this machine
can start it. Downloads and writes nothing. Exit status 2 if the run could not start.
"""


def preflight(arguments: list[str], hub: Hub | None = None) -> int:
    """Run `uddm preflight` and return its exit status.

    Args:
        arguments: of `uddm fit`.
        hub: lists files and their sizes; None is the Hugging Face hub.

    Raises:
        InputError: the arguments are wrong, or the run could not start; the table is written before that.
    """
    if set(arguments) & {"-h", "--help"} or not arguments:
        sys.stdout.write(HELP)
        return 0
    found = requirements(resolve(arguments).values, hub)
    width = max(len(name) for name, _ in found.lines)
    sys.stdout.write("".join(f"{name:<{width}}  {value}\n" for name, value in found.lines))
    if found.problems:
        raise InputError("This run could not start here. " + " ".join(found.problems))
    return 0
