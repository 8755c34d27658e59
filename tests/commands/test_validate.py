"""`uddm validate MODEL` on a run: by its folder, its config and its checkpoint."""

import shutil
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", [".", "config.yaml", "checkpoints/last.ckpt"])
def test_a_run_may_be_named_by_its_folder_config_or_checkpoint(uddm, trained: Path, tmp_path: Path, name: str) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    before = (run / "measurements.csv").read_bytes()
    outcome = uddm("validate", run / name)
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == before
    assert not (run / "run").exists()
