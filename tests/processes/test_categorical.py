"""Samples of categorical distributions against a loop over the ids."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from uddm_lightning.processes.categorical import sample_categorical


@given(
    st.lists(st.floats(0.0, 5.0), min_size=2, max_size=7).filter(any),
    st.floats(0.0, 1.0, exclude_max=True),
    st.floats(-30.0, 30.0),
)
def test_a_sample_is_the_smallest_id_above_its_quantile(weights: list[float], quantile: float, shift: float) -> None:
    logp_NV = torch.tensor([weights], dtype=torch.float64).log() + shift  # a constant of each token does not matter
    probabilities = logp_NV.exp()[0].tolist()
    target, cumulative, expected = quantile * sum(probabilities), 0.0, len(weights) - 1
    for index, probability in enumerate(probabilities):
        cumulative += probability
        if cumulative > target:
            expected = index
            break
    found = int(sample_categorical(logp_NV, torch.tensor([quantile], dtype=torch.float64)))
    near = abs(cumulative - target) < 1e-12 * sum(probabilities)
    assert found == expected or near


def test_an_id_of_probability_0_is_never_sampled() -> None:
    logp_NV = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64).log().expand(1001, 5)
    quantile_N = torch.linspace(0.0, 1.0, 1001, dtype=torch.float64).clamp(max=1.0 - 2**-53)
    found_N = sample_categorical(logp_NV, quantile_N)
    assert found_N.bincount(minlength=5).tolist() == [0, 500, 0, 501, 0]
