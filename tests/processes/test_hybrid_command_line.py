"""Hybrid diffusion through the command line: training, measuring, measuring again."""

import math

import pytest
import yaml

from tests.support.command_line import check, table


@pytest.fixture
def hybrid(config):
    """Return the small config with the hybrid process."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["model"]["process"] = {"class_path": "HybridProcess", "init_args": {"p_uniform": 0.3}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return config


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["NELBO", "ReweightedNELBO"])
def test_it_is_trained_and_measured_like_any_other(uddm, hybrid, tmp_path, objective):
    run = tmp_path / "run"
    outcome = uddm("fit", "-c", hybrid, "--out", run, "--model.objective", objective)
    assert outcome.status == 0, outcome.err
    rows = table(run)
    assert {row["metric"] for row in rows} >= {"recovery", "entropy", "nelbo"}
    for row in rows:
        if row["metric"] == "entropy":
            assert 0 < float(row["entropy"]) <= math.log(27)
            assert 0 < float(row["self_token_influence"]) < 1
        if row["metric"] == "nelbo":
            assert 0 < float(row["nelbo"]) < math.inf
    text = (run / "measurements.csv").read_bytes()
    command = ("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    outcome = uddm(*command)
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == text


def test_oracles_of_other_noise_are_refused(uddm, hybrid, tmp_path):
    options = ("--model.backbone", "UnigramBackbone", "--out", tmp_path / "run")
    check(uddm("validate", "-c", hybrid, *options), "UnigramBackbone", "HybridProcess", "model.process")
