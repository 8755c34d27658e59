"""Stored help texts: they are up to date, fit a terminal, and are printed without importing torch or Lightning."""

import subprocess
import sys
import time

import pytest

from tests.support.ci_scripts import load_script
from uddm_lightning.cli.commands import ALL_OPTIONS, COMMANDS, HELP, LIGHTNING, help_text

NAMES = [*LIGHTNING, *COMMANDS]


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    texts: dict[str, str] = load_script("store_help").texts()
    return texts


@pytest.mark.parametrize("name", NAMES)
def test_a_help_text_is_up_to_date(made: dict[str, str], name: str) -> None:
    if name in COMMANDS and sys.version_info >= (3, 13):
        pytest.skip("argparse of Python 3.13 writes options in another form")
    assert help_text(name) == made[name], "run `python .ci/store_help.py`"


def test_every_help_text_belongs_to_a_command() -> None:
    assert {path.stem for path in HELP.glob("*.txt")} == {"uddm", *NAMES}


@pytest.mark.parametrize("name", ["", *NAMES])
def test_a_help_text_fits_a_terminal(name: str) -> None:
    lines = help_text(name).splitlines()
    assert max(map(len, lines)) <= 100
    summary = help_text(name, short=True).splitlines()
    assert len(summary) <= 40, "one screen"


@pytest.mark.parametrize("name", LIGHTNING)
def test_the_long_help_begins_with_the_short_one(name: str) -> None:
    short, long = help_text(name, short=True), help_text(name)
    assert long.startswith(short.partition("\n`uddm")[0])
    assert "--recovery.times" in short
    assert ALL_OPTIONS not in short
    assert "--nelbo.times_per_row" in long


@pytest.mark.parametrize("arguments", [["fit", "--help"], ["sweep", "-h"], ["help", "fit"], ["--version"], ["configs"]])
def test_help_is_printed_without_heavy_imports(arguments: list[str]) -> None:
    code = (
        "import sys; from uddm_lightning.cli.main import main; status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'lightning', 'jsonargparse', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else status)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert time.monotonic() - started < 5, "0.1 s on a quiet machine"


def test_help_is_printed_for_any_position_of_the_option(uddm) -> None:
    assert uddm("help", "fit").out == uddm("fit", "--help").out == uddm("fit", "-c", "x.yaml", "--help").out
    assert uddm("help").out == uddm("--help").out == uddm().out
    assert uddm("fit", "-h").out == help_text("fit", short=True)
    outcome = uddm("help", "fot")
    assert outcome.status == 2
    assert "`uddm fot`: there is no such command; did you mean `fit`?" in outcome.err
