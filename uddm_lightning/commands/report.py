"""The command `uddm report`."""

import sys
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.sweeps.results import PAGE_ONLY, summary, write_results


def report(arguments: list[str]) -> int:
    """Run `uddm report` and return its exit status.

    Raises:
        InputError: the folder holds no measurements, or a table is damaged.
    """
    parser = CommandParser(
        prog="uddm report",
        description="Read the tables of a sweep, or of any folder of runs, and write transition.json, figures and "
        "report.html there. No checkpoint is needed.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", help="folder of a sweep, or of runs")
    parser.add_argument("--page-only", action="store_true", help=PAGE_ONLY)
    given = parser.parse_args(arguments)
    folder = Path(given.folder).absolute()
    sys.stdout.write(f"{summary(write_results(folder, given.page_only))}\n{folder / 'report.html'}\n")
    return 0
