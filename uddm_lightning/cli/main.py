"""The command `uddm`: runs a command and turns its errors into one message and an exit status."""

import re
import sys

from uddm_lightning import __version__
from uddm_lightning.cli.commands import LIGHTNING, check_command, find_command, help_text
from uddm_lightning.config.config_files import find_config_options
from uddm_lightning.core.errors import sanitize_message
from uddm_lightning.core.imports import import_quickly

LOST_RANK = re.compile("gloo.*Connection (closed|reset) by peer", re.DOTALL)  # message of the remaining ranks


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: command and options; None takes those of the process.
    """
    command, *options = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        if command == "--version":
            sys.stdout.write(f"uddm {__version__}\n")
            return 0
        if command in ("-h", "--help", "help"):
            command, options = (options[0] if command == "help" and options else ""), ["--help"]
        if command:
            check_command(command)
        if short := {"-h", "--help"}.intersection(options):
            sys.stdout.write(help_text(command, short == {"-h"}))
            return 0
        names_model = command == "validate" and options and not options[0].startswith("-")
        if command not in LIGHTNING or names_model:
            return find_command(command)(options)
        arguments = find_config_options([command, *options])
        import_quickly("uddm_lightning.cli.lightning").run_lightning(arguments)  # the import takes seconds
    except KeyboardInterrupt:
        sys.stderr.write("uddm: stopped.\n")
        return 1
    except Exception as error:
        status, message = describe_error(error)
        if not message:
            raise
        sys.stderr.write(f"uddm: {message}\n")
        return status
    return 0


def describe_error(error: Exception) -> tuple[int, str]:
    """Return the exit status and the message of an error; the message is empty if the traceback should be printed."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # by name: importing Lightning's takes seconds
    if kinds & {"InputError", "MisconfigurationException"}:
        return 2, f"error: {sanitize_message(str(error))}"
    if "TrainingSpikeException" in kinds:
        return 1, f"stopped: SpikeDetection: {sanitize_message(str(error))}"
    if kinds & {"FloatingPointError", "DiskFullError"}:
        return 1, f"stopped: {error}"
    if isinstance(error, RuntimeError) and LOST_RANK.search(str(error)):
        return 1, "stopped: another process of this run has ended; its message says why."
    return 1, ""
