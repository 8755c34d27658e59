"""The installed command in separate processes: ranks that Lightning starts, a compiled network, a wrong option."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.command_line import OFF, anonymous_table


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "uddm_lightning", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ))


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_two_ranks_started_by_lightning_train_and_measure_like_one(uddm, config, tmp_path):
    common = ("fit", "-c", config, "--model.backbone.init_args.dropout", 0)
    ddp = ("--trainer.devices", 2, "--trainer.strategy", "ddp")
    split = ("--trainer.accumulate_grad_batches", 2, "--trainer.val_check_interval", 6)
    assert uddm(*common, "--out", tmp_path / "one").status == 0
    finish(start(*common, "--out", tmp_path / "two", *ddp, *split))
    alone, together = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-3, atol=1e-5)
    for row, other in zip(anonymous_table(tmp_path / "one"), anonymous_table(tmp_path / "two"), strict=True):
        for column in ("n_rows", "n_draws", "n_corrupted", "n_clean"):
            assert row[column] == other[column]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_network_trains(uddm, config, tmp_path, monkeypatch):
    common = ("fit", "-c", config, "--model.backbone.init_args.dropout", 0, *OFF, "--nelbo.enabled", "true")
    assert uddm(*common, "--out", tmp_path / "plain").status == 0
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # others would each import torch
    finish(start(*common, "--out", tmp_path / "compiled", "--model.compile", "true"))
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    assert plain.keys() == other.keys()
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_wrong_option_ends_with_status_2_and_one_message(config):
    process = start("fit", "-c", config, "--data.sise", 8)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Traceback" not in out
    assert out.count("uddm: error:") == 1
