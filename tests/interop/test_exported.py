"""A loaded export: the same logits, without a config or a command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.command_line import Outcome
from tests.support.foreign import export, logits, task_of
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.exported import load_exported
from uddm_lightning.runs.manifest import read_manifest

Run = Callable[..., Outcome]


def test_logits_are_equal_after_conversion_and_export(
    uddm: Run, run: Path, tmp_path: Path, raw: DiT, averaged: DiT
) -> None:
    tokens_BL, sigma_B = torch.randint(21, (3, 16)), torch.tensor([1e-5, 0.3, 6.0])
    for weights, network in (("ema", averaged), ("raw", raw)):
        assert export(uddm, run, tmp_path / weights, "--weights", weights).status == 0
        loaded = load_exported(tmp_path / weights)
        assert torch.equal(logits(loaded, tokens_BL, sigma_B), logits(network, tokens_BL, sigma_B))


@pytest.mark.slow
def test_the_loaded_model_equals_the_trained_one(
    uddm: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UDDM_CACHE", str(trained / "cache"))
    run = trained / "run"
    task = task_of(run)
    tokens_BL, sigma_B = torch.randint(21, (3, 16)), torch.tensor([1e-5, 0.3, 6.0])
    for weights, network in (("ema", task.ema.backbone), ("raw", task.backbone)):
        folder = tmp_path / weights
        outcome = export(uddm, run, folder, "--weights", weights)
        assert outcome.status == 0, outcome.err
        loaded = load_exported(folder)
        assert not loaded.training
        assert torch.equal(logits(loaded, tokens_BL, sigma_B), logits(network, tokens_BL, sigma_B))
        config = json.loads((folder / "config.json").read_text())
        assert (config["weights"], config["step"], config["length"], config["vocab_size"]) == (weights, 6, 16, 21)
        assert config["process"] == {
            "class": "UniformProcess",
            "schedule": {"class": "LogLinearSchedule", "eps": 0.001},
        }
        assert config["states"] == 21
        assert config["prediction"] == "leave-one-out"

    cached = next((trained / "cache").glob("*/tokenizer.json"))
    assert (tmp_path / "ema" / "tokenizer.json").read_text() == cached.read_text()
    text = (tmp_path / "ema" / "README.md").read_text()
    assert "By ema weights at step 6, ancestral chain on a grid of 10 steps; 8 training rows, seed 0" in text
    assert "| 0.1 | train | " in text
    assert "NELBO on t in [0.02, 1], test rows: " in text
    assert "| coincidence | wrong before | wrong after | clean tokens changed |" in text
    assert "Own-token leak, 0 for an exact leave-one-out prediction: own samples 0." in text
    assert "At t = 0.1, judged by this one run: **not learned yet**." in text, "after 6 steps"
    assert f"corpus `{read_manifest(run)['corpus']}`" in text
    assert "**Not measured.**" in (tmp_path / "raw" / "README.md").read_text()  # of the raw weights


@pytest.mark.slow
def test_loading_needs_no_command_line(uddm: Run, run: Path, tmp_path: Path) -> None:
    assert export(uddm, run, tmp_path / "out").status == 0
    code = (
        "import sys; from uddm_lightning.interop import load_exported; load_exported(sys.argv[1]);"
        "print([name for name in ('lightning', 'jsonargparse', 'datasets', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_damaged_export_is_refused(uddm: Run, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert export(uddm, run, folder).status == 0
    weights, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_exported(folder)

    save_file({name: value for name, value in weights.items() if "norm" not in name}, folder / "model.safetensors")
    refused("no exported model that can be read")
    (folder / "model.safetensors").write_bytes(b"nothing")
    refused("no exported model that can be read")
    for spoilt, message in (
        ({**config, "format": 2}, "is not of format 1"),
        ({**config, "architecture": {"class": "Other"}}, "describes no DiT"),
        ({"format": 1}, "describes no DiT"),
        ({**config, "architecture": {"class": "DiT"}}, "no exported model that can be read"),
        ([], "is not of format 1"),
    ):
        (folder / "config.json").write_text(json.dumps(spoilt))
        refused(message)
    (folder / "config.json").write_text("{")
    refused("cannot be read")
    with pytest.raises(InputError, match="Name a folder that `uddm export` wrote"):
        load_exported(tmp_path)
