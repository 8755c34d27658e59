"""Plugins that live outside the package, and every YAML that is shipped."""

import re
import shlex
import sys

import pytest
import yaml

from tests.support.standins import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


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
