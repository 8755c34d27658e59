"""The server process from which the runs of a sweep are forked."""

import gc
import os
import subprocess
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from tqdm import tqdm

from uddm_lightning.sweeps.launchers.forked_run import serve

NEEDED = {"uddm_lightning.sweeps.launchers.preloaded", "uddm_lightning.cli.lightning", "pandas"}


def look() -> None:
    """Return status 0 if bars are disabled, everything is imported and the collector leaves the imports out."""
    missing, scanned = not sys.modules.keys() >= NEEDED, not gc.get_freeze_count()
    sys.exit(int(not tqdm(range(3)).disable) + 2 * int(missing) + 4 * int(scanned))


def begin() -> None:
    """Start a run as a sweep does."""
    serve()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "TQDM_DISABLE" not in os.environ
    run = ForkServerProcess(target=look)
    run.start()
    run.join(120)
    assert run.exitcode == 0


@pytest.mark.slow
def test_a_forked_run_has_all_imports_and_shows_no_bars():
    # in a separate process, because a process has one server and another test may have started it
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    subprocess.run(
        [sys.executable, "-c", "from tests.sweeps.launchers.test_forked_run import begin; begin()"],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**environment, "OMP_NUM_THREADS": "3"},
    )
