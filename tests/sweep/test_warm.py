"""The process from which a sweep's runs are forked."""

import os
import sys
from multiprocessing.context import ForkServerProcess

from tqdm import tqdm

from uddm_lightning.sweep.launchers.warm import serve


def look() -> None:
    """Status 0 where no bar is drawn and everything is imported."""
    sys.exit(int(not tqdm(range(3)).disable) + 2 * int("uddm_lightning.lightning_cli" not in sys.modules))


def test_a_forked_run_finds_everything_imported_and_draws_no_bars(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    serve()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "TQDM_DISABLE" not in os.environ
    run = ForkServerProcess(target=look)
    run.start()
    run.join(120)
    assert run.exitcode == 0
