"""Settings of every test process: one thread, no network, no files in the home folder.

They are set before torch and the hub's libraries are imported, and they also hold for processes that tests start.
"""

import gc
import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # pytest-xdist already uses the cores, and results repeat
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="uddm-tests-")

import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml

from tests.support.command_line import MARKOV, Outcome, tiny_config, write_corpus
from uddm_lightning.cli.main import main

torch.set_num_threads(1)
gc.disable()  # until all tests are imported, see `pytest_collection_finish`


# The files that take longest, by time on two cores. Some have few tests, which wait for processes and schedulers.
LONGEST = (
    "sweeps/launchers/test_slurm.py",
    "sweeps/launchers/test_local.py",
    "runs/test_resume.py",
    "training/test_same_numbers.py",
    "configs/test_every_config.py",
    "commands/test_sweep.py",
    "runs/test_folder.py",
    "test_repository.py",
    "test_installed.py",
    "core/test_console.py",
    "adversarial/test_corpora.py",
    "test_api.py",
)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: many slow tests wait for processes, signals and schedulers."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark bars as slow, so that `-m "not slow"` leaves them out, and put the longest files first, then those with many
    slow tests. A worker of pytest-xdist runs whole files in this order; a long file at the end would run alone.
    """
    for item in items:
        if item.get_closest_marker("bar"):
            item.add_marker("slow")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path, len(places)), -slow[item.path]))


def pytest_collection_finish() -> None:
    """Leave imported modules and collected tests, a million objects, out of the garbage collections of the tests."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Return them to the collector: some libraries report objects that are left at the end of the process."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _undisturbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every test has its own cache and working folder, and leaves threads, environment, process group and
    precision of float32 products as they were.

    DDP of one process inside the test process keeps its group open and its port in the environment, where the processes
    of the next test would use it again.
    """
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    before = dict(os.environ)
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.txt")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config(write_corpus(tmp_path / "corpus.txt"))), encoding="utf-8")
    return path


@pytest.fixture
def config_on_the_way(tmp_path: Path) -> Path:
    """The same with measurements at both validations."""
    path = tmp_path / "tiny.yaml"
    settings = tiny_config(write_corpus(tmp_path / "corpus.txt"), on_the_way=True)
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture
def markov_config(config: Path) -> Path:
    """The tiny config with text of a Markov chain, for which `MarkovBackbone` is exact."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["data"] |= {**MARKOV, "num_train_rows": 128, "num_test_rows": 32, "train_size": 8}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return config


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of `tiny_config`, its cache and the output of `fit`; trained once for all tests."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "tiny.yaml"
    settings = tiny_config(write_corpus(folder / "corpus.txt"), on_the_way=True)
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("UDDM_CACHE", str(folder / "cache"))
        patch.setattr(torch, "set_num_threads", lambda number: None)
        assert main(["fit", "-c", str(config), "--out", str(folder / "run")]) == 0
    (folder / "printed.txt").write_text(printed.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def textless(trained: Path) -> Iterator[Path]:
    """The same folder without its text."""
    text = trained / "corpus.txt"
    away = text.rename(trained / "away.txt")
    yield trained
    away.rename(text)


@pytest.fixture
def uddm(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `uddm` with the given arguments in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(word) for word in arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(20260423)
