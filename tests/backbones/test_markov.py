"""The exact posterior of text from a Markov chain."""

import pytest
import torch

from tests.support.command_line import check, measure_oracle, select
from uddm_lightning.backbones import MarkovBackbone, TextStatistics
from uddm_lightning.core.errors import InputError


@pytest.mark.slow
def test_the_exact_posterior_is_equal_on_train_and_test_text(uddm, markov_config, tmp_path):
    rows = measure_oracle(
        uddm, markov_config, tmp_path / "run", "MarkovBackbone", "--data.train_size", 128, "--data.num_test_rows", 40
    )
    for train, test in zip(select(rows, "entropy", "train"), select(rows, "entropy", "test"), strict=True):
        assert float(train["entropy_low"]) < float(test["entropy_high"])
        assert float(test["entropy_low"]) < float(train["entropy_high"])
        assert float(train["self_token_influence"]) < 1e-12
    for row in select(rows, "recovery", "train"):
        assert float(row["recovery_low"]) > float(row["chance"])
    # the objective has no effect on an oracle
    others = measure_oracle(
        *(
            uddm,
            markov_config,
            tmp_path / "other",
            "MarkovBackbone",
            "--data.train_size",
            128,
            "--data.num_test_rows",
            40,
        ),
        *("--model.objective", "DenoisingCrossEntropy", "--model.objective.init_args.t_min", 0.02),
    )
    assert [{**row, "run": ""} for row in rows] == [{**row, "run": ""} for row in others]


def test_a_text_without_a_known_distribution_is_refused(uddm, config):
    outcome = uddm("validate", "-c", config, "--model.backbone", "MarkovBackbone")
    check(outcome, "MarkovBackbone", "MarkovSource", "CharacterTokenizer")


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ((), True),
        pytest.param(("--data.tokenizer", "CharacterTokenizer"), True, marks=pytest.mark.slow),
        (("--data.tokenizer.init_args.alphabet", "abcde"), False),
        pytest.param(("--data.packing.init_args.length", 8), True, marks=pytest.mark.slow),
        (("--data.packing.init_args.length", 12), False),
    ],
)
def test_the_distribution_is_known_if_tokens_and_rows_preserve_it(uddm, markov_config, tmp_path, options, known):
    probes = ("--recovery.enabled", "false", "--entropy.enabled", "false")
    outcome = uddm(
        "validate",
        "-c",
        markov_config,
        "--model.backbone",
        "MarkovBackbone",
        "--out",
        tmp_path / "run",
        *probes,
        *options,
    )
    assert outcome.status == (0 if known else 2), outcome.err


def test_markov_backbone_without_a_chain_error() -> None:
    with pytest.raises(InputError, match="MarkovBackbone, which needs text of a known distribution: `data"):
        MarkovBackbone(3).prepare(TextStatistics(lambda: torch.zeros(1, 2).long(), torch.ones(3) / 3))
