"""The command `uddm demo`."""

import os
import shutil
import sys
import webbrowser
from pathlib import Path

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import filesystem_error
from uddm_lightning.sweeps.results import write_results

TABLES = Path(__file__).parent / "demo_sweep"  # tables of `uddm sweep -c demo`; `.ci/store_demo.py` writes them
MARK = "facts.json"  # tells a folder of the demo from others
NEXT = "Make one of your own text:\n  uddm sweep --text my.txt\n"


def demo(arguments: list[str]) -> int:
    """Run `uddm demo` and return its exit status.

    Raises:
        InputError: the folder cannot be written.
    """
    parser = CommandParser(
        prog="uddm demo",
        description="Write the report of a small sweep that ships with this package, and open it in a browser if there "
        "is a display. Nothing is trained or downloaded.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("uddm-demo"), metavar="DIR", help="folder of the page (default: uddm-demo)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the path of the page")
    given = parser.parse_args(arguments)
    folder = given.out.absolute()
    try:
        _copy_tables(folder)
    except OSError as error:
        raise filesystem_error(f"`{folder}` cannot be written", error, "Give another folder with `--out`.") from error
    write_results(folder, page_only=True)
    page = folder / "report.html"
    sys.stdout.write(f"{page}\n{NEXT}")
    if not given.no_browser and _has_display():
        webbrowser.open(page.as_uri())
    return 0


def _copy_tables(folder: Path) -> None:
    """Copy the tables to a folder that is empty, missing or holds the demo."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        ours, theirs = TABLES / MARK, folder / MARK
        if not theirs.is_file() or theirs.read_bytes() != ours.read_bytes():
            raise InputError(f"`{folder}` holds other files; give another folder with `--out`.")
    for path in TABLES.iterdir():
        shutil.copyfile(path, folder / path.name)


def _has_display() -> bool:
    """Return whether a browser would have a window here."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
