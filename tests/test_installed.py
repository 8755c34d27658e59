"""The built wheel, installed into a fresh environment, runs the quickstart by name in an empty folder."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REDUCED = (
    *("--sizes", "8,64", "--jobs", "1", "--trainer.max_steps", "20", "--trainer.val_check_interval", "20"),
    *("--data.num_train_rows", "16", "--data.num_test_rows", "16", "--data.num_sample_rows", "8"),
    *("--basin.enabled", "false", "--trajectory.enabled", "false"),
)


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_runs_the_quickstart_in_an_empty_folder(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=ROOT)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    [site] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # the other packages are those of this environment; the wheel's own comes first
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(site) in run(python, "-c", "import uddm_lightning; print(uddm_lightning.__file__)", cwd=empty)
    uddm = tmp_path / "venv" / "bin" / "uddm"
    assert "quickstart " in run(uddm, "configs", cwd=empty)
    assert str(site) in run(uddm, "configs", "quickstart", "--path", cwd=empty)
    assert "--recovery.times" in run(uddm, "fit", "--help", cwd=empty)
    run(uddm, "sweep", "-c", "quickstart", "--out", "sweep", *REDUCED, cwd=empty)
    assert (empty / "sweep" / "report.html").stat().st_size > 10_000
    assert (empty / "sweep" / "transition.json").is_file()
