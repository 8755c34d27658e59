"""Write tables of measured numbers beside the tests."""

import csv
import os
import platform
import subprocess
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "configs" / "results"


def write_results(name: str, command: str, lines: list[dict[str, object]], *notes: str) -> None:
    """Write measured numbers with the command, the machine, the commit and further facts."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / name).open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {command}, at commit {commit.stdout.strip()}\n")
        file.write(f"# {platform.machine()}, {os.cpu_count()} CPU cores, torch {torch.__version__}\n")
        file.writelines(f"# {note}\n" for note in notes)
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
