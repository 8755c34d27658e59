"""The unigram model, which recovers tokens at the chance level."""

import pytest

from tests.support.command_line import measure_oracle, select


@pytest.mark.slow
def test_the_unigram_model_restores_at_the_chance_level(uddm, config, tmp_path):
    options = ("--data.num_train_rows", 2000, "--data.train_size", 64, "--recovery.times", "[0.1, 0.5]")
    rows = measure_oracle(uddm, config, tmp_path / "run", "UnigramBackbone", *options)
    for row in select(rows, "recovery", "train"):
        assert float(row["recovery_low"]) <= float(row["chance"]) <= float(row["recovery_high"])
        assert float(row["recovery_high"]) - float(row["recovery_low"]) < 0.05
    for row in [*select(rows, "entropy", "train"), *select(rows, "entropy", "samples")]:
        assert float(row["self_token_influence"]) == 0.0
        assert float(row["entropy"]) == pytest.approx(float(row["entropy_leave_one_out"]))
