"""Run the command line in this process on a tiny corpus. There are no per-test fixtures, because a property calls it
often."""

import io
import os
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch
import yaml
from hypothesis import settings

from tests.support.command_line import Outcome, tiny_config, write_corpus
from uddm_lightning.cli.lightning import run_lightning
from uddm_lightning.cli.main import main
from uddm_lightning.training.task import DiffusionTask

QUIET = settings(deadline=None, derandomize=True, database=None)


def uddm(*arguments: object) -> Outcome:
    """Run `uddm` with the given arguments; an exception fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main([str(word) for word in arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return Outcome(status, out.getvalue(), err.getvalue())


def one_message(outcome: Outcome) -> str:
    """Return the one-line message about a wrong input."""
    assert outcome.status == 2, outcome.err
    assert "Traceback" not in outcome.err
    _, found, message = outcome.err.rpartition("uddm: error: ")
    assert found, outcome.err
    check_line(message.removesuffix("\n"))
    return message


def check_line(message: str) -> None:
    """Check that a message is one short line."""
    assert message.strip()
    assert len(message.splitlines()) == 1, message
    assert len(message) < 1000, message


class Home(NamedTuple):
    """A folder with a run of three steps.

    Attributes:
        folder: the working folder.
        config: config of the run.
        checkpoint: last checkpoint of the run.
        task: the trained model.
    """

    folder: Path
    config: Path
    checkpoint: Path
    task: DiffusionTask

    def __repr__(self) -> str:
        return f"Home({self.folder})"  # keeps the network out of the message of a failing property


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    config = folder / "tiny.yaml"
    content = tiny_config(write_corpus(folder / "corpus.txt"))
    content["trainer"]["max_steps"] = 3
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    environment = patch.dict(os.environ, {"UDDM_CACHE": str(folder / "cache")})
    with environment, chdir(folder), patch.object(torch, "set_num_threads"):
        cli = run_lightning(["fit", "-c", str(config), "--out", "run"])
        yield Home(folder, folder / "run" / "config.yaml", folder / "run" / "checkpoints" / "last.ckpt", cli.model)
