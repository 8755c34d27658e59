"""`uddm export` and back: the same logits, without a config or a command."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.command_line import Outcome
from tests.support.foreign import logits, task_of
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.exported import load_exported
from uddm_lightning.interop.model_card import card
from uddm_lightning.runs.manifest import read_manifest

Run = Callable[..., Outcome]


@pytest.fixture
def run(uddm: Run, foreign: Path, text: Path, tmp_path: Path) -> Path:
    """A converted run, which needs no training."""
    assert uddm("convert", foreign, "--out", tmp_path / "run", "-c", text).status == 0
    return tmp_path / "run"


def export(uddm: Run, run: Path, folder: Path, *more: str) -> Outcome:
    return uddm("export", run, "--out", folder, *more)


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


@pytest.mark.slow
def test_a_converted_run_is_exported_with_its_origin(uddm: Run, run: Path, tmp_path: Path) -> None:
    assert export(uddm, run, tmp_path / "before").status == 0
    assert not (tmp_path / "before" / "tokenizer.json").exists()
    about = (tmp_path / "before" / "README.md").read_text()
    assert "**Not measured.**" in about
    assert "Converted from `foreign.ckpt` (sha256 `" in about
    assert "* which rows: not known" in about
    assert uddm("validate", "-c", run / "config.yaml", "--ckpt_path", "last").status == 0
    assert export(uddm, run, tmp_path / "after").status == 0
    assert (tmp_path / "after" / "tokenizer.json").exists()
    about = (tmp_path / "after" / "README.md").read_text()
    assert "**The regime is not known:**" in about
    assert "judged by this one run" not in about


def test_wrong_input_is_one_message(uddm: Run, run: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").touch()
    assert "nothing is overwritten" in export(uddm, run, full).err
    assert list(full.iterdir()) == [full / "mine.txt"]
    other = tmp_path / "other.yaml"
    other.write_text("model: 3\n")
    out = ("--out", tmp_path / "out", "--ckpt_path")
    for arguments, message in (
        ((tmp_path / "none.yaml", *out, "last"), "cannot be read as a config"),
        ((other, *out, run / "checkpoints" / "last.ckpt"), "has no section `model`"),
        ((run, *out, "none.ckpt"), "there is no such file"),
        ((run, *out, other), "cannot be read as a checkpoint"),
        ((run, *out, "last", "--weights", "best"), "invalid choice: 'best'"),
    ):
        outcome = uddm("export", *arguments)
        assert outcome.status == 2
        assert message in outcome.err
        assert not (tmp_path / "out").exists()


def test_a_checkpoint_must_have_its_vocabulary_size(uddm: Run, run: Path, tmp_path: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"].pop("vocab_size")
    torch.save(content, path)
    outcome = export(uddm, run, tmp_path / "out")
    assert outcome.status == 2
    assert "does not say how many ids" in outcome.err


def test_other_networks_are_not_exported(uddm: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(DiT):
        pass

    monkeypatch.setattr("uddm_lightning.interop.export.DiT", Other)
    outcome = export(uddm, run, tmp_path / "out")
    assert outcome.status == 2
    assert "`model.backbone` is DiT, and only Other is exported" in outcome.err


class FakeHub:
    """Fake hub that records uploads, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.repositories: dict[str, set[str]] = {}

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> None:
        assert exist_ok
        self.repositories[repo_id] = set()

    def upload_folder(self, *, repo_id: str, folder_path: Path) -> None:
        if self.error:
            raise self.error
        self.repositories[repo_id] = {path.name for path in folder_path.iterdir()}


def test_push_uploads_the_folder(uddm: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub()
    monkeypatch.setattr("uddm_lightning.interop.export.HfApi", lambda: hub)
    monkeypatch.setattr("uddm_lightning.interop.export.get_token", lambda: "token")
    outcome = export(uddm, run, tmp_path / "out", "--push", "owner/name")
    assert outcome.status == 0, outcome.err
    assert "https://huggingface.co/owner/name" in outcome.out
    assert hub.repositories == {"owner/name": {path.name for path in (tmp_path / "out").iterdir()}}
    monkeypatch.setattr("uddm_lightning.interop.export.HfApi", lambda: FakeHub(OSError("no network\nat all")))
    outcome = export(uddm, run, tmp_path / "again", "--push", "owner/name")
    assert outcome.status == 2
    assert f"the upload failed (no network). The files are in `{tmp_path / 'again'}`." in outcome.err


def test_push_needs_a_token_and_a_repository(
    uddm: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uddm_lightning.interop.export.get_token", lambda: None)
    for repository, message in (("name", "give a repository as OWNER/NAME"), ("owner/name", "`hf auth login`")):
        outcome = export(uddm, run, tmp_path / "out", "--push", repository)
        assert outcome.status == 2
        assert message in outcome.err
        assert not (tmp_path / "out").exists()


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


def test_the_card_of_a_run_without_a_manifest_states_it(uddm: Run, run: Path, tmp_path: Path) -> None:
    assert export(uddm, run, tmp_path / "out").status == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["process"]["schedule"]["class"] = "CosineSchedule"
    text = card(config, tmp_path)
    assert "Not known: the run has no manifest." in text
    assert "of the CosineSchedule" in text
