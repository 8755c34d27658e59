"""The models of the calibration, trained again: 28 min 22 s on two cores, measured with single test files beside it.

`calibration/cpu_seconds.csv` has the CPU time of each sweep: measured, with all processes of the sweep, or estimated as
20 s plus the steps at 37 ms each (48 to 52 ms with word pieces or three blocks) over the share of optimizer steps that
the sweep printed, or that of a similar sweep. The 37 ms come from one measured run, of `held-twelve-large`.
"""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.audit.test_default_calibration import HERE, check_bars
from uddm_lightning.audit.calibration import load_calibration
from uddm_lightning.audit.known_models import read_known_models

CORES = 2
HOUR = 3600  # seconds
EVIDENCE = 2.0  # CPU seconds for the evidence on one model: 43 s for 20 models, measured


def shares():
    """Return the sweeps of each core, longest first, and their CPU seconds."""
    with (HERE / "cpu_seconds.csv").open(encoding="utf-8", newline="") as file:
        seconds = {row["sweep"]: float(row["cpu_seconds"]) for row in csv.DictReader(file)}
    names, totals = [[] for _ in range(CORES)], [0.0] * CORES
    for name in sorted(seconds, key=seconds.get, reverse=True):
        core = totals.index(min(totals))
        names[core].append(name)
        totals[core] += seconds[name]
    return names, totals


def make(place, *names, path):
    """Start `make.sh` with another PATH."""
    return subprocess.Popen(["sh", HERE / "make.sh", place, *names], env={**os.environ, "PATH": path})


def test_make_trains_the_sweeps_of_the_tables_within_an_hour(tmp_path, monkeypatch):
    """`uddm` is replaced by a script that notes its arguments."""
    noted = tmp_path / "noted"
    (tmp_path / "uddm").write_text('#!/bin/sh\nprintf "%s\\t" "$@" >> "$NOTED"\necho >> "$NOTED"\n')
    (tmp_path / "uddm").chmod(0o755)
    monkeypatch.setenv("NOTED", str(noted))
    names, totals = shares()
    for one in names:
        assert make(tmp_path / "out", *one, path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}").wait() == 0
    commands = [line.split("\t") for line in noted.read_text().splitlines()]
    made = [Path(words[words.index("--out") + 1]).name for words in commands]
    assert sorted(made) == sorted(name for one in names for name in one)
    models = [read_known_models(HERE / file) for file in ("fit.csv", "held_out.csv")]
    assert {model.sweep for table in models for model in table} == set(made)
    for words in commands:
        overlays = [words[place + 1] for place, word in enumerate(words) if word == "-c"]
        assert all(Path(overlay).exists() for overlay in overlays[1:])
    assert max(totals) + EVIDENCE * max(map(len, models)) < HOUR


@pytest.mark.bar
@pytest.mark.timeout(2 * HOUR)
def test_a_calibration_that_is_made_again_reaches_the_bars(tmp_path, uddm):
    place = Path(os.environ.get("UDDM_CALIBRATION", tmp_path))  # finished sweeps are not repeated
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.monotonic()
    makers = [make(place, *names, path=path) for names in shares()[0]]
    assert [one.wait() for one in makers] == [0] * CORES
    judged = [word for sweep in sorted(place.glob("held-*")) for word in ("--judge", str(sweep))]
    table = ["--judged_table", str(place / "held_out.csv")]
    judging = subprocess.Popen([sys.executable, "-m", "uddm_lightning", "calibrate", *judged, *table])
    outcome = uddm("calibrate", *sorted(place.glob("fit-*")), "--out", place / "c.json", "--table", place / "fit.csv")
    assert outcome.status == 0, outcome.err
    assert judging.wait() == 0
    check_bars(load_calibration(place / "c.json"), read_known_models(place / "held_out.csv"), 60)
    assert time.monotonic() - started < HOUR
