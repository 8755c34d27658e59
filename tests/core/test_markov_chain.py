"""A random Markov chain: stationary, relabeled and of a given sharpness."""

import torch

from tests.support.toy_worlds import Joint, assert_frequencies
from uddm_lightning.core.markov_chain import MarkovChain


def test_markov_chain_is_stationary_and_draws_its_rows() -> None:
    chain = MarkovChain.random(3, sharpness=1.5, seed=4)
    torch.testing.assert_close(chain.transition_VV.sum(1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(chain.initial_V @ chain.transition_VV, chain.initial_V)
    joint = Joint(3, 4, seed=0)
    rows = chain.sample(torch.arange(20_000), 4)
    p_X = chain.initial_V[joint.rows_XL[:, 0]] * chain.transition_VV[joint.rows_XL[:, :-1], joint.rows_XL[:, 1:]].prod(
        1
    )
    likely = p_X * 20_000 >= 8
    counts = torch.bincount(joint.code(rows), minlength=81)
    assert_frequencies(
        torch.cat([counts[likely], counts[~likely].sum()[None]]), torch.cat([p_X[likely], p_X[~likely].sum()[None]])
    )
    assert torch.equal(chain.sample(torch.tensor([17, 3]), 4), rows[[17, 3]]), "a row is a function of its key"


def test_renumbering_keeps_the_transitions() -> None:
    chain = MarkovChain.random(3, sharpness=1.5, seed=4)
    other = chain.relabel([2, 0, 3], vocab_size=4)
    assert float(other.initial_V[1]) == 0.0
    torch.testing.assert_close(other.transition_VV[2, 3], chain.transition_VV[0, 2])
    torch.testing.assert_close(other.initial_V @ other.transition_VV, other.initial_V)


def test_sharpness_ranges_from_uniform_to_deterministic() -> None:
    flat, sharp = (MarkovChain.random(5, sharpness, seed=0).transition_VV for sharpness in (0.0, 50.0))
    torch.testing.assert_close(flat, torch.full((5, 5), 0.2, dtype=torch.float64))
    assert (sharp.amax(1) > 0.9).all()
