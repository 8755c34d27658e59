"""Progress on a terminal and in a file, of real processes."""

import os
import pty
import re
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from uddm_lightning.core import progress as progress_module
from uddm_lightning.core.progress import Progress, announce, format_duration, progress, silence_progress

WORK = """
import time
from uddm_lightning.core import progress as module
module.DELAY, module.INTERVAL = 0.1, 0.3
from uddm_lightning.core.progress import progress
for _ in progress(range(4), "outer", "batches"):
    for _ in progress(range(4), "inner"):
        time.sleep(0.08)
"""
CURSOR = re.compile(r"[\r\x1b]")


def start(kind: str, tmp_path: Path, environment: dict[str, str], work: str = WORK) -> str:
    """Return the stderr of the work above, as a file or a terminal."""
    command, environment = [sys.executable, "-c", work], {**os.environ, **environment}
    if kind == "file":
        with (tmp_path / "log").open("wb") as file:
            subprocess.run(command, stderr=file, env=environment, check=True)
        return (tmp_path / "log").read_text(encoding="utf-8")
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    with subprocess.Popen(command, stderr=slave, env=environment) as process:
        os.close(slave)
        written = b""
        with os.fdopen(master, "rb", buffering=0) as reader, suppress(OSError):  # defaults of a terminal
            while piece := reader.read(1024):
                written += piece
        assert process.wait() == 0
    return written.decode()


def test_a_file_gets_plain_lines(tmp_path: Path) -> None:
    text = start("file", tmp_path, {})
    assert not CURSOR.search(text)
    lines = text.splitlines()
    assert 2 <= len(lines) <= 5, "one at a time, of all work together"
    assert lines[0].startswith("uddm: outer: 0 of 4 batches; inner: ")
    assert re.fullmatch(r"uddm: outer: \d of 4 batches, about \d s left(; inner: \d of 4, about \d s left)?", lines[-1])


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    text = start("terminal", tmp_path, {})
    assert "outer: " in text
    assert "\r" in text
    assert "uddm: " not in text


def test_work_inside_a_measurement_is_a_note_on_its_bar(tmp_path: Path) -> None:
    work = WORK.replace("progress\nfor", "Progress, announce, progress\nfor").split(
        'for _ in progress(range(4), "outer'
    )[0]
    work += """
with Progress("measuring", 2, "batches", bar_format=module.MEASURING) as Progress.measuring:
    announce("recovery, train rows, batch 1 of 2")
    for _ in range(2):
        for _ in progress(range(8), "reverse chain", "steps"):
            time.sleep(0.06)
        Progress.measuring.update()
"""
    text = start("terminal", tmp_path, {}, work)
    assert "\x1b[A" not in text, "one bar"
    assert re.search(r"\rrecovery, train rows, batch 1 of 2: +\d+%\|[^\r]*\| 00:0\d<[^\r]*, reverse chain \d+%", text)
    assert "measuring" not in text


@pytest.mark.parametrize("kind", ["file", "terminal"])
def test_the_environment_disables_it(kind: str, tmp_path: Path) -> None:
    marked = WORK + "import sys; sys.stderr.write('end')"
    assert start(kind, tmp_path, {"TQDM_DISABLE": "1"}, marked) == "end"


def test_it_can_be_silenced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_module, "DELAY", 0.0)
    monkeypatch.setattr(Progress, "_last_line", float("-inf"))
    with silence_progress():
        assert list(progress(range(2), "silent")) == [0, 1]
    assert capsys.readouterr().err == ""
    assert list(progress(range(2), "audible")) == [0, 1]
    assert capsys.readouterr().err.startswith("uddm: audible: 1 of 2, about 1 s left\n")


def test_interrupted_work_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    items = progress(range(9), "broken")
    next(items)
    items.close()  # type: ignore[attr-defined]  # of a generator
    assert Progress._active == []


def test_a_note_replaces_the_time_left() -> None:
    shown = Progress("runs", 8, initial=2)
    shown.describe("1 of 4 runs", "DiT-n8-s0")
    assert str(shown) == "1 of 4 runs: 25%, DiT-n8-s0"
    shown.close()
    unknown = Progress("reading", unit="B")
    unknown.update(2048)
    assert str(unknown) == "reading: 2,048 B"
    unknown.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1 s"), (89.0, "89 s"), (91, "2 min"), (5399, "90 min"), (7200, "2.0 h")]
)
def test_a_duration_has_a_suitable_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_part_of_a_measurement_is_named_on_its_display() -> None:
    announce("nothing is measured, and nothing happens")
    with Progress("measuring", 8, "batches") as shown:
        Progress.measuring = shown
        announce("recovery, train rows, batch 2 of 8")
        shown.update(2)
        assert str(shown).startswith("recovery, train rows, batch 2 of 8: 2 of 8 batches")
    assert Progress.measuring is None
    announce("and again")
