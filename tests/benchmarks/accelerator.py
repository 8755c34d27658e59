"""Measure the hot paths of a GPU, each in a process of its own and within a given time, and write a table.

A path that fails, hangs or does not fit into the time leaves a row with the reason and does not affect the others. The
table is written after every path.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import torch

from tests.benchmarks.accelerator_case import TEXTBOOK, Case, Row, first_line
from tests.benchmarks.accelerator_paths import PATHS
from tests.benchmarks.timing import MIB, machine

HEAD = (
    *("path", "side", "ms", "low", "high", "times as fast", "peak MiB", "TFLOP/s", "share of products", "tokens/s"),
    *("first call s", "note"),
)
RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
SECONDS = 330.0  # for all paths; `gpu.sh` takes at most six minutes
LONGEST = 90.0  # seconds of one path but the last, so that a path that hangs leaves time for the others
SHORTEST = 10.0  # seconds that a path needs at least: imports take about five of them


def run(case: Case, only: Sequence[str] = (), seconds: float = SECONDS, table: Path | None = None) -> bool:
    """Measure paths and write their table; return whether all of them were measured.

    Args:
        case: device, sizes and number of timed calls.
        only: names of paths; empty for all.
        seconds: time for all paths.
        table: CSV file; the Markdown file beside it has another suffix. None is `results/gpu-NAME.csv`. Rows of other
            paths that an existing file of the same machine holds are kept.
    """
    deadline = time.monotonic() + seconds
    table = table or RESULTS / f"{case.device.type.replace('cuda', 'gpu')}-{slug(machine(case.device))}.csv"
    paths = list(only or PATHS)
    rows = [about(case.device)]
    before = read(table, rows[0].side)
    for path in paths:
        left = deadline - time.monotonic()
        limit = left if path == paths[-1] else min(left, LONGEST)
        if limit < SHORTEST:
            found = [Row(path, "", note="not measured: no time left")]
        else:
            found = measure_apart(path, case, limit)
        rows += found
        sys.stderr.write("".join(f"{row.path} | {row.side}: {summary(row)}\n" for row in found))
        write(table, rows, before)
    sys.stdout.write(table.with_suffix(".md").read_text(encoding="utf-8"))
    return all(row.seconds is not None for row in rows[1:])


def measure_apart(path: str, case: Case, seconds: float) -> list[Row]:
    """Measure one path in its own process, which ends after some seconds at the latest."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "rows.json", Path(folder) / "log.txt"
        words = [f"--device={case.device.type}", f"--rounds={case.rounds}", *(["--toy"] if case.toy else [])]
        command = [sys.executable, "-m", "tests.benchmarks", *words, "--worker", path, "--csv", str(out)]
        started = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                end(process)
        rows = [Row(*values) for values in json.loads(out.read_text(encoding="utf-8"))] if out.exists() else []
        if status is None:
            seconds = time.monotonic() - started
            rows.append(Row(path, "the rest", note=f"not measured: the path took more than {seconds:.0f} s"))
        elif status:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
            rows.append(Row(path, "the rest", note=f"not measured: exit status {status}: {lines[-1][:160]}"))
        return rows


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children, which form a process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def work(path: str, case: Case, out: Path) -> None:
    """Measure one path in this process and write its rows as JSON."""
    torch.set_float32_matmul_precision("high")  # for all sides
    try:
        # the first compilation takes longer than all toys together
        with torch.compiler.set_stance("force_eager" if case.toy else "default"):
            rows = PATHS[path](path, case._replace(out=out))
    except Exception as error:  # the row of the table has the reason
        rows = [Row(path, "", note=first_line(error))]
    case._replace(out=out).save(rows)


def about(device: torch.device) -> Row:
    """Return the row with machine, versions, commit and date."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.strip()
    facts = (f"torch {torch.__version__}", f"commit {commit or 'unknown'}", f"{datetime.now(UTC):%Y-%m-%d}")
    return Row("machine", machine(device), note=", ".join(facts))


def slug(name: str) -> str:
    """Return a name for a file: lower-case letters and digits, joined by hyphens."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())


def read(table: Path, name: str) -> list[tuple[str, ...]]:
    """Return the rows of paths in an existing table of the same machine."""
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return [tuple(row) for row in rows if row[0] != "machine"] if rows and rows[0][1] == name else []


def write(table: Path, rows: Sequence[Row], before: Sequence[tuple[str, ...]] = ()) -> None:
    """Write the rows as CSV and as Markdown, and the earlier rows of other paths."""
    measured = {row.path for row in rows}
    cells = [HEAD, *formatted(rows, before), *(row for row in before if row[0] not in measured)]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(cells)
    lines = ["| " + " | ".join(row) + " |\n" for row in cells]
    table.with_suffix(".md").write_text("".join([lines[0], "|---" * len(HEAD) + "|\n", *lines[1:]]), encoding="utf-8")


def formatted(rows: Sequence[Row], before: Sequence[tuple[str, ...]] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row. Ratios are relative to the first measured textbook side of the same path."""
    place = HEAD.index("TFLOP/s")
    speeds = {row[1]: 1e12 * float(row[place]) for row in before if row[0] == "products" and row[place]}
    speeds |= {
        row.side: row.flops / row.seconds for row in rows if row.path == "products" and row.flops and row.seconds
    }
    for row in rows:
        sides = {other.side: other.seconds for other in rows if other.path == row.path}
        textbook = next((sides[side] for side in TEXTBOOK if sides.get(side)), None)
        ratio = textbook / row.seconds if textbook and row.seconds else None
        speed = row.flops / row.seconds if row.flops and row.seconds else None
        share = speed / speeds[row.dtype] if speed and row.dtype in speeds and row.path != "products" else None
        yield (
            row.path,
            row.side,
            *("" if value is None else f"{1e3 * value:.3f}" for value in (row.seconds, row.low, row.high)),
            "" if ratio is None else f"{ratio:.2f}",
            "" if row.peak is None else f"{row.peak / MIB:.0f}",
            "" if speed is None else f"{speed / 1e12:.4g}",
            "" if share is None else f"{share:.3f}",
            f"{row.tokens / row.seconds:.0f}" if row.tokens and row.seconds else "",
            "" if row.first is None else f"{row.first:.1f}",
            row.note.replace("|", "/"),
        )


def summary(row: Row) -> str:
    """Return the time or the reason of a row."""
    return row.note if row.seconds is None else f"{1e3 * row.seconds:.2f} ms {row.note}".rstrip()
