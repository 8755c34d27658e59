"""The models of the calibration, trained again: under an hour on two cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.test_default_calibration import HERE, check_bars
from uddm_lightning.audit.calibration import load_calibration
from uddm_lightning.audit.known_models import read_known_models


@pytest.mark.bar
@pytest.mark.timeout(3 * 3600)
def test_a_calibration_that_is_made_again_reaches_the_bars(tmp_path, uddm):
    place = Path(os.environ.get("UDDM_CALIBRATION", tmp_path))  # finished sweeps are not repeated
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", str(HERE / "make.sh"), str(place)], check=True, env={**os.environ, "PATH": path})
    fitted, judged = sorted(place.glob("fit-*")), sorted(place.glob("held-*"))
    words = [word for sweep in judged for word in ("--judge", sweep)]
    tables = ["--out", place / "c.json", "--table", place / "fit.csv", "--judged_table", place / "held_out.csv"]
    outcome = uddm("calibrate", *fitted, *words, *tables)
    assert outcome.status == 0, outcome.err
    check_bars(load_calibration(place / "c.json"), read_known_models(place / "held_out.csv"), 60)
