"""A config or a checkpoint with the names of an earlier version: one message with the name, and status 2."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.support.command_line import Outcome
from uddm_lightning.core.errors import InputError
from uddm_lightning.runs.run import load_run


def _rename_argument(model: dict[str, Any]) -> None:
    arguments = model["backbone"]["init_args"]
    arguments["hidden"] = arguments.pop("hidden_size")


def _rename_class(model: dict[str, Any]) -> None:
    model["backbone"]["class_path"] = "uddm_lightning.models.DiT"


def _rename_sampler(model: dict[str, Any]) -> None:
    model["sampler"]["class_path"] = "uddm_lightning.chains.Chain"


def _rename_key(model: dict[str, Any]) -> None:
    model["learning_rate"] = model.pop("lr_schedule")


RENAMES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "argument": (_rename_argument, "`model.backbone` has no argument `hidden`; did you mean `hidden_size`?"),
    "class": (_rename_class, "`model.backbone` is uddm_lightning.models.DiT, which is not a known class"),
    "another class": (_rename_sampler, "`model.sampler` is uddm_lightning.chains.Chain, which is not a known class"),
    "key": (_rename_key, "`model.learning_rate.init_args.warmup_steps` is not a key of a config"),
}
COMMANDS = ("validate", "probe", "sample", "export")


@pytest.fixture
def old(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def arguments(command: str, run: Path) -> list[object]:
    if command == "validate":
        return [command, "-c", run / "config.yaml", "--ckpt_path", "last"]
    more = {"probe": [], "sample": ["-n", 1, "--out", run / "s.parquet"], "export": ["--out", run / "exported"]}
    return [command, run, *more[command]]


def rename_in_config(run: Path, rename: Callable[[dict[str, Any]], None]) -> None:
    text = (run / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    rename(config["model"])
    (run / "config.yaml").write_text(text.splitlines()[0] + "\n" + yaml.safe_dump(config), encoding="utf-8")


def rename_in_checkpoint(run: Path, rename: Callable[[dict[str, Any]], None]) -> None:
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    rename(checkpoint["hyper_parameters"])
    torch.save(checkpoint, path)


def check(outcome: Outcome, name: str) -> None:
    assert outcome.status == 2, outcome.err
    message = outcome.err[outcome.err.index("uddm: error: ") :].strip()
    assert len(message.splitlines()) == 1, message
    assert name in message, message


@pytest.mark.parametrize("kind", RENAMES)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_old_name_in_a_config_is_named(uddm: Callable[..., Outcome], old: Path, command: str, kind: str) -> None:
    rename, name = RENAMES[kind]
    rename_in_config(old, rename)
    check(uddm(*arguments(command, old)), name)


@pytest.mark.parametrize("kind", RENAMES)
def test_load_run_names_an_old_name(old: Path, kind: str) -> None:
    rename, name = RENAMES[kind]
    rename_in_config(old, rename)
    with pytest.raises(InputError, match=re.escape(name)):
        load_run(old)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_old_class_in_a_checkpoint_is_named(uddm: Callable[..., Outcome], old: Path, command: str) -> None:
    rename_in_checkpoint(old, _rename_class)
    check(uddm(*arguments(command, old)), "uddm_lightning.models.DiT")
