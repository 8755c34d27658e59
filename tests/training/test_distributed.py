"""What the processes of a run exchange in a training step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_step_under_ddp_reduces_each_bucket_of_gradients_and_exchanges_nothing_else(
    config: Path, tmp_path: Path
) -> None:
    arguments = ["fit", "-c", config, "--trainer.strategy", "ddp", "--trainer.devices", 1, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "tests.training.collectives_of_a_step", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["collectives"] == {"c10d::allreduce_": found["buckets"]}
    assert found["buckets"] >= 1
    assert not found["unused"]
