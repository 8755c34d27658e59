"""A small corpus, a small config, and the command line run inside the test process."""

import io
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from uddm_lightning.cli.main import main

WORDS = ("the", "of", "and", "to", "we", "our", "people", "congress", "war", "peace", "law", "year", "public", "great")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _undisturbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every test has its own cache and working folder, and leaves threads, environment and process group as they were.

    DDP of one process, run inside the test's own, stays in its group and leaves the group's port in the environment,
    where the next test's processes would find it taken.
    """
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    before = dict(os.environ)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(before)


def write_corpus(path: Path) -> Path:
    """300 lines of small words."""
    generator = random.Random(0)  # noqa: S311 no secret is made here
    path.write_text("\n".join(" ".join(generator.choices(WORDS, k=12)) for _ in range(300)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.txt")


def tiny_config(corpus: Path) -> dict:
    return {
        "seed_everything": 0,
        "threads": 1,
        "data": {
            "source": {"class_path": "TextFiles", "init_args": {"paths": str(corpus)}},
            "tokenizer": {"class_path": "CharacterTokenizer"},
            "packing": {"class_path": "WrappedPacking", "init_args": {"length": 16}},
            "size": 8,
            "batch_size": 8,
            "measure_batch_size": 8,
            "train_draws": 16,
            "test_draws": 16,
            "sample_draws": 16,
            "random_draws": 16,
        },
        "model": {
            "process": {
                "class_path": "UniformProcess",
                "init_args": {"schedule": {"class_path": "LogLinearSchedule"}},
            },
            "backbone": {
                "class_path": "DiT",
                "init_args": {"hidden": 16, "blocks": 1, "heads": 2, "conditioning": 8, "dropout": 0.1},
            },
            "objective": {"class_path": "NELBO", "init_args": {"t_min": 0.02}},
            "sampler": {"class_path": "AncestralSampler", "init_args": {"steps": 10}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "learning_rate": {"class_path": "WarmupConstant", "init_args": {"warmup": 2}},
        },
        "recovery": {"times": [0.1, 0.5]},
        "entropy": {"times": [0.1, 0.5]},
        "nelbo": {"times_per_draw": 2},
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 6,
            "val_check_interval": 3,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


@pytest.fixture
def config(tmp_path: Path, corpus: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config(corpus)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of `tiny_config`, its cache and what `fit` printed: trained once, looked at by many."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(tiny_config(write_corpus(folder / "corpus.txt"))), encoding="utf-8")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("UDDM_CACHE", str(folder / "cache"))
        patch.setattr(torch, "set_num_threads", lambda number: None)
        patch.setattr(sys, "argv", ["uddm", "fit", "-c", str(config), "--out", str(folder / "run")])
        assert main() == 0
    (folder / "printed.txt").write_text(printed.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def textless(trained: Path) -> Iterator[Path]:
    """The same folder while its text is away."""
    text = trained / "corpus.txt"
    away = text.rename(trained / "away.txt")
    yield trained
    away.rename(text)


@pytest.fixture
def uddm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `uddm` with the given arguments, as a shell would start it, but in this process."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["uddm", *map(str, arguments)])
        capsys.readouterr()
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run
