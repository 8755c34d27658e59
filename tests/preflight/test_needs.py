"""Missing requirements of a run are reported at its start by every command."""

import sys
from pathlib import Path
from typing import Any

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.preflight import needs

CRITIC = ("--samples.critic", "HubCritic", "--samples.critic.init_args.model", "some/model")


@pytest.mark.parametrize("command", ["fit", "validate", "test", "sweep", "preflight"])
def test_a_missing_library_of_the_critic(uddm, config, trained, tmp_path, monkeypatch, command) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    given = {
        "validate": ("-c", trained / "run" / "config.yaml", "--ckpt_path", "last"),
        "test": ("-c", trained / "run" / "config.yaml", "--ckpt_path", "last"),
        "sweep": ("-c", config, "--out", tmp_path / "sweep", "--sizes", "2,4"),
        "preflight": ("-c", config),
    }.get(command, ("-c", config, "--out", tmp_path / "run"))
    outcome = uddm(command, *given, *CRITIC)
    assert outcome.status == 2
    message = outcome.err[outcome.err.index("uddm: error: ") :]
    assert "`samples.critic` is HubCritic, which needs `transformers`: pip install 'uddm-lightning[critic]'" in message
    assert not list(tmp_path.rglob("measurements.csv"))


def test_a_disabled_critic_needs_no_package(uddm, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    few = ("--trainer.fast_dev_run", "true", "--samples.enabled", "false")
    assert uddm("fit", "-c", config, "--out", tmp_path / "run", *CRITIC, *few).status == 0


@pytest.mark.parametrize("command", ["fit", "sweep", "preflight"])
def test_float16_with_a_scaled_loss_on_a_cpu(uddm, config, tmp_path, command) -> None:
    given = () if command == "preflight" else ("--out", tmp_path / "out")
    outcome = uddm(command, "-c", config, *given, "--trainer.precision", "16-mixed")
    assert outcome.status == 2
    message = outcome.err[outcome.err.index("uddm: error: ") :]
    assert "`trainer.precision` is 16-mixed, which a CPU does not have" in message
    assert not list(tmp_path.rglob("measurements.csv"))


def test_a_missing_cluster(uddm, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = uddm("sweep", "-c", config, "--out", tmp_path / "sweep", "--sizes", "2,4", "--launcher", "slurm")
    assert outcome.status == 2
    assert "`--launcher slurm` needs SLURM's programs" in outcome.err
    assert not list((tmp_path / "cache").glob("*")), "before the text is prepared"


@pytest.mark.parametrize("logger", ["WandbLogger", "CometLogger", "MLFlowLogger"])
def test_a_logger_without_its_package(uddm, config, tmp_path: Path, logger) -> None:
    outcome = uddm("fit", "-c", config, "--out", tmp_path / "run", "--trainer.logger", logger)
    assert outcome.status == 2
    assert "install" in outcome.err[outcome.err.index("uddm: error: ") :]
    assert not list(tmp_path.rglob("measurements.csv"))


def test_processes() -> None:
    def processes(**settings: Any) -> tuple[int, int, bool]:
        return tuple(needs.processes({"accelerator": "cpu", "devices": 1, "num_nodes": 1, **settings}))

    assert processes() == (1, 1, False)
    assert processes(devices="auto") == (1, 1, False)
    assert processes(devices=2, num_nodes=3) == (6, 2, False)
    assert processes(accelerator="gpu", devices=[0, 1]) == (2, 2, True)
    assert processes(accelerator="gpu", devices=-1) == (1, 1, True)


@pytest.mark.parametrize(
    ("class_path", "states"),
    [
        ("torch.optim.AdamW", 2),
        ("torch.optim.SGD", 0),
        ("torch.optim.Adagrad", 1),
        ("uddm_lightning.training.muon.MuonAdamW", 2),
    ],
)
def test_states_per_parameter_of_an_optimizer(class_path: str, states: int) -> None:
    assert needs.states_per_parameter({"class_path": class_path, "init_args": {"lr": 0.1}}) == states


def test_parameters_are_counted_without_memory_for_weights() -> None:
    backbone = {
        "class_path": "uddm_lightning.backbones.DiT",
        "init_args": {"hidden_size": 8192, "n_blocks": 48, "n_heads": 64},
    }
    assert needs.num_parameters(backbone, 30_522) > 30e9
    with pytest.raises(InputError, match="hiden"):
        needs.num_parameters({"class_path": "uddm_lightning.backbones.DiT", "init_args": {"hiden": 3}}, 27)


def test_vocabularies(tmp_path: Path) -> None:
    prefix = "uddm_lightning.data."
    learned = {"class_path": f"{prefix}WordPieceTokenizer", "init_args": {"vocab_size": 4096}}
    assert needs.vocab_size(learned, []) == 4096
    assert needs.vocab_size({"class_path": f"{prefix}CharacterTokenizer", "init_args": {}}, []) is None


def test_kept_checkpoints_are_those_of_the_steps() -> None:
    steps = {"class_path": "ValidationSteps", "init_args": {"steps": [1, 2, 3]}}
    keep = {"class_path": "ModelCheckpoint", "init_args": {"save_top_k": -1, "save_weights_only": True}}
    assert needs.kept_checkpoints([steps, keep, {"class_path": "Timer"}]) == 3
    assert needs.kept_checkpoints([steps]) == needs.kept_checkpoints(None) == 0
