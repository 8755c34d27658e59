"""Source of patterns of spins."""

from itertools import product

import pytest
import torch
from torch import Tensor

from tests.support.command_line import check
from uddm_lightning.data import SpinPatterns


def spins(source: SpinPatterns) -> Tensor:
    texts = [document.text for document in source.documents()]
    assert {document.split for document in source.documents()} == {None}
    return torch.tensor([[{"-": -1, "+": 1}[spin] for spin in text] for text in texts])


def test_independent_spins_are_fair_and_uncorrelated():
    found = spins(SpinPatterns(num_documents=5000, length=16, num_features=None)).double()
    assert found.shape == (5000, 16)
    covariance = found.T @ found / 5000
    assert found.mean(0).abs().max() < 4 / 5000**0.5
    assert (covariance - torch.eye(16)).abs().max() < 4.5 / 5000**0.5


def test_patterns_are_mixtures_of_few_features_and_never_opposites():
    """The 5 features are found by brute force: they are the patterns of a source with one feature a pattern."""
    features = spins(SpinPatterns(num_documents=200, length=32, num_features=5, num_active=1)).unique(dim=0)
    assert len(features) == 5
    known = set()
    for places in torch.combinations(torch.arange(5), 3):
        for signs in product((-1, 1), repeat=3):
            known.add(tuple((torch.tensor(signs)[:, None] * features[places]).sum(0).sign().tolist()))
    found = {tuple(row) for row in spins(SpinPatterns(num_documents=2000, length=32, num_features=5)).tolist()}
    opposites = {tuple(-spin for spin in row) for row in found}
    assert found | opposites == known
    assert not found & opposites
    assert len(found) == 40


def test_mixtures_have_no_preferred_sign():
    found = spins(SpinPatterns(num_documents=20000, length=64, num_features=32, num_active=3)).unique(dim=0).double()
    assert len(found) > 10000
    assert found.mean(0).abs().max() < 4.5 / len(found) ** 0.5


def test_patterns_depend_on_the_seed_and_not_on_their_number():
    few, more, other = (
        spins(SpinPatterns(num_documents=number, length=20, seed=seed)) for number, seed in ((5, 0), (9, 0), (5, 1))
    )
    assert torch.equal(few, more[:5])
    assert not torch.equal(few, other)


@pytest.mark.parametrize(
    ("options", "needles"),
    [
        (("num_documents", 1), ("num_documents", "1")),
        (("length", 1), ("length", "1")),
        (("num_features", 0), ("num_features", "0")),
        (("num_features", 2), ("num_active", "num_features", "3", "2")),
        (("num_active", 0), ("num_active", "0")),
        (("num_active", 4), ("num_active", "odd", "4")),
        (("num_active", 17), ("num_active", "num_features", "17")),
        (("seed", -3), ("seed", "-3")),
    ],
)
def test_invalid_arguments(uddm, markov_config, options, needles):
    name, value = options
    source = ("--data.source", "SpinPatterns", f"--data.source.init_args.{name}={value}")
    check(uddm("fit", "-c", markov_config, *source), *needles)
