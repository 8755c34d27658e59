"""Masked diffusion through the command line: training, measuring, measuring again, and its oracles."""

import math

import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.command_line import check, table


@pytest.fixture
def absorbing(config):
    """Return the small config with the absorbing process."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["model"]["process"]["class_path"] = "AbsorbingProcess"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return config


@pytest.mark.slow
def test_it_is_trained_and_measured_like_any_other(uddm, absorbing, tmp_path):
    run = tmp_path / "run"
    outcome = uddm("fit", "-c", absorbing, "--out", run)
    assert outcome.status == 0, outcome.err
    rows = table(run)
    for row in rows:
        if row["metric"] == "recovery":
            assert row["n_clean_changed"] == "0"
            assert int(row["n_corrupted"]) > 0
            assert math.isfinite(float(row["margin"]))
        if row["metric"] == "entropy":
            assert float(row["self_token_influence"]) == 0.0
            assert row["entropy_clean"] == ""
            assert 0 < float(row["entropy"]) == float(row["entropy_corrupted"]) <= math.log(27)
            assert float(row["entropy_leave_one_out"]) > 0
    # a mask is shown as a box and has an entropy; clean tokens have none
    sequences = pq.read_table(run / "sequences.parquet").to_pylist()
    mask = max(token for row in sequences for token in row["xt"])
    assert mask > max(token for row in sequences for token in row["x0"] + row["xhat"])
    for row in sequences:
        assert [piece == "▢" for piece in row["xt_text"]] == [token == mask for token in row["xt"]]
        assert "▢" not in row["x0_text"] + row["xhat_text"]
        if row["split"] != "random":  # the entropy of clean text is not measured
            assert [math.isnan(value) for value in row["entropy"]] == [token != mask for token in row["xt"]]
    text = (run / "measurements.csv").read_bytes()
    command = ("validate", "-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    outcome = uddm(*command)
    assert outcome.status == 0, outcome.err
    assert (run / "measurements.csv").read_bytes() == text
    outcome = uddm(*command, "--model.process", "UniformProcess")
    check(outcome, "model.process.class_path", "AbsorbingProcess", "UniformProcess")


def test_a_text_without_masks_cannot_be_restored(uddm, absorbing, tmp_path):
    given = tmp_path / "given.txt"
    given.write_text("the people of the state\n", encoding="utf-8")
    options = ("--model.backbone", "UnigramBackbone", "--text", given, "--out", tmp_path / "restored")
    check(uddm("predict", "-c", absorbing, *options), "model.process", "AbsorbingProcess", "UniformProcess")


@pytest.mark.parametrize("backbone", ["EmpiricalBayesBackbone", "UnigramBackbone"])
def test_oracles_use_the_mask(uddm, absorbing, tmp_path, backbone):
    options = ("--model.backbone", backbone, "--out", tmp_path / "run", "--data.num_train_rows", 200)
    outcome = uddm("validate", "-c", absorbing, *options)
    assert outcome.status == 0, outcome.err
    by_kind = {
        kind: [row for row in table(tmp_path / "run") if (row["metric"], row["split"]) == (kind, "train")]
        for kind in ("recovery", "entropy", "nelbo")
    }
    for row in by_kind["recovery"]:
        if backbone == "UnigramBackbone":
            assert float(row["recovery_low"]) <= float(row["chance"]) <= float(row["recovery_high"])
        else:
            assert float(row["recovery"]) > 0.98
    if backbone == "EmpiricalBayesBackbone":
        [bound] = by_kind["nelbo"]
        assert float(bound["nelbo_low"]) - 0.03 < math.log(8) / 16 < float(bound["nelbo_high"]) + 0.03
        [unseen] = [row for row in table(tmp_path / "run") if (row["metric"], row["split"]) == ("nelbo", "test")]
        assert float(unseen["nelbo"]) == math.inf, "a memorizer holds other text for impossible"
        assert all(float(row["entropy_leave_one_out"]) < 0.1 for row in by_kind["entropy"])
