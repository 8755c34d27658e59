"""The names of the package: lazy, typed, and sufficient to train, measure and sweep in a script."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import uddm_lightning
from tests.support.command_line import tiny_config, write_corpus

PUBLIC = {"DiffusionTask", "EntropyProbe", "RecoveryProbe", "TextDataModule", "__version__", "load_run", "sweep"}

TRAINING = """
from functools import partial
from lightning import Trainer
from uddm_lightning import DiffusionTask, EntropyProbe, RecoveryProbe, TextDataModule
from uddm_lightning.backbones import DiT
from uddm_lightning.data import CharacterTokenizer, TextFiles, WrappedPacking
from uddm_lightning.samplers import AncestralSampler

data = TextDataModule(TextFiles("corpus.txt"), CharacterTokenizer(), WrappedPacking(16), train_size=8, batch_size=8)
backbone = partial(DiT, hidden_size=32, n_blocks=1, n_heads=2)
task = DiffusionTask(data.vocab_size, backbone=backbone, sampler=AncestralSampler(steps=10))
trainer = Trainer(max_steps=20, callbacks=[RecoveryProbe([0.1]), EntropyProbe([0.1], num_rows=64)])
trainer.fit(task, datamodule=data)
print(trainer.callback_metrics["recovery/train/t=0.1"], trainer.callback_metrics["entropy/samples/t=0.1"])
"""

SWEEP = """
import json
from uddm_lightning import load_run, sweep

result = sweep(json.load(open("tiny.json")), "sweep", sizes=[2, 8], jobs=2, page_only=True, trainer={"max_steps": 4})
print(json.dumps([result.failed, [path.name for path in result.runs], result.measurements().num_rows]))
print(load_run(result.runs[0]).step)
"""


def run_script(code: str, folder: Path) -> list[str]:
    (folder / "script.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "UDDM_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_names_are_imported_on_first_use():
    assert set(uddm_lightning.__all__) == PUBLIC
    assert set(dir(uddm_lightning)) >= PUBLIC
    for name in PUBLIC:
        assert getattr(uddm_lightning, name).__class__ is not None
    with pytest.raises(AttributeError, match="has no attribute 'swep'"):
        uddm_lightning.swep  # noqa: B018 the access itself is tested


def test_the_package_is_imported_quickly():
    code = "import sys, time; start = time.perf_counter(); import uddm_lightning; print(time.perf_counter() - start)"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch_is_there = done.stdout.split()
    assert float(seconds) < 0.2
    assert torch_is_there == "False"


@pytest.mark.slow
def test_a_script_of_fifteen_lines_trains_and_measures(tmp_path):
    write_corpus(tmp_path / "corpus.txt")
    assert len([line for line in TRAINING.splitlines() if line]) <= 15
    recovery, entropy = run_script(TRAINING, tmp_path)[-1].split()
    assert 0.0 <= float(recovery.strip("tensor()")) <= 1.0
    assert 0.0 < float(entropy.strip("tensor()")) < 4.0


@pytest.mark.slow
def test_a_script_sweeps(tmp_path):
    """Without `if __name__ == "__main__"`: no run starts the script again."""
    config = tiny_config(write_corpus(tmp_path / "corpus.txt"))
    config |= {kind: {"enabled": False} for kind in ("basin", "samples", "trajectory")}
    config["trainer"]["val_check_interval"] = 2
    (tmp_path / "tiny.json").write_text(json.dumps(config), encoding="utf-8")
    *_, result, step = run_script(SWEEP, tmp_path)
    failed, runs, rows = json.loads(result)
    assert (failed, runs, step) == ([], ["DiT-n2-s0", "DiT-n8-s0"], "4")
    assert rows > 20
    assert (tmp_path / "sweep" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Lightning warns in a notebook, too; the kernel prints it
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UDDM_CACHE", str(tmp_path / "cache"))
    path = Path(__file__).parents[1] / "configs" / "quickstart.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    shortened = 0
    for cell in cells:
        if cell["cell_type"] == "code":
            ast.parse(source := "".join(cell["source"]))
            for steps in ("max_steps=400", '"max_steps": 400'):  # training longer tests nothing more
                shortened += steps in source
                source = source.replace(steps, steps.replace("400", "40"))
            exec(compile(source, str(path), "exec"), names)  # noqa: S102 the notebook is ours
            assert cell["outputs"] or "import" in source or "=" in source
    assert shortened == 2
    assert 0.0 <= names["recovery"]["recovery"][0].as_py() <= 1.0
