"""The empirical Bayes predictor: the exact posterior under the training rows."""

import math

import pytest
import torch

from tests.support.command_line import measure_oracle, select
from tests.support.oracle_worlds import every_noise, memory
from tests.support.toy_worlds import integrated_nelbo, prior_gap
from uddm_lightning.backbones import EmpiricalBayesBackbone, TextStatistics


def test_the_perfect_memorizer_restores_every_training_row(uddm, markov_config, tmp_path):
    rows = measure_oracle(
        *(uddm, markov_config, tmp_path / "run", "EmpiricalBayesBackbone"),
        *("--recovery.times", "[0.1, 0.25]", "--entropy.times", "[0.1]", "--nelbo.t_min", 1e-8),
    )
    for row in select(rows, "recovery", "train"):
        assert float(row["recovery"]) == 1.0
        assert row["n_clean_changed"] == "0"
        assert int(row["n_corrupted"]) > 100
    assert all(float(row["recovery"]) < 0.6 for row in select(rows, "recovery", "test"))
    [entropy] = select(rows, "entropy", "train")
    assert float(entropy["entropy"]) < 1e-3
    [bound] = select(rows, "nelbo", "train")
    # 8 rows of 16 tokens have ln 8 nats; little of that is left at t = 1
    assert float(bound["nelbo_low"]) - 0.03 < 2.0794 / 16 < float(bound["nelbo_high"]) + 0.03


def test_empirical_bayes_uses_the_nearest_rows_if_no_row_matches() -> None:
    oracle = EmpiricalBayesBackbone(4)
    oracle.prepare(
        TextStatistics(lambda: torch.tensor([[0, 1, 2], [0, 2, 1], [1, 1, 1]]), torch.ones(3) / 3, mask_id=3)
    )
    predicted_p = torch.softmax(oracle(torch.tensor([[3, 0, 1], [0, 0, 3]]), torch.ones(2).double()), -1)
    torch.testing.assert_close(predicted_p[0, 0], torch.tensor([0.5, 0.5, 0, 0]).double())
    torch.testing.assert_close(predicted_p[1, 2], torch.tensor([0, 0.5, 0.5, 0]).double())


def test_duplicate_training_rows_count_twice() -> None:
    rows = torch.tensor([[0, 1], [0, 1], [2, 2]])
    oracle = EmpiricalBayesBackbone(3)
    oracle.prepare(TextStatistics(lambda: rows, torch.ones(3) / 3))
    blank = torch.softmax(oracle(torch.tensor([[1, 0]]), torch.tensor([60.0], dtype=torch.float64)), -1)
    torch.testing.assert_close(blank[0, 0], torch.tensor([2 / 3, 0, 1 / 3], dtype=torch.float64))


def test_chunks_of_training_rows_give_equal_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    world = memory(4, 3, n=30)
    whole = world.predict(0.7)
    monkeypatch.setattr("uddm_lightning.backbones.empirical_bayes.CHUNK_ELEMENTS", 64 * 3 * 7)
    torch.testing.assert_close(world.predict(0.7), whole)


@every_noise
def test_nelbo_of_empirical_bayes_is_ln_n_nats_per_row(mask: bool) -> None:
    world = memory(4, 3, n=7, mask=mask)
    bound = integrated_nelbo(world.process, world.joint, world.predict) + prior_gap(world.process, world.joint)
    assert bound == pytest.approx(math.log(7), abs=1e-4)
