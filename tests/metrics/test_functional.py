import pytest
import torch
from scipy import stats

from uddm_lightning.metrics.functional import entropy, margin, total_variation


def test_entropy_agrees_with_scipy_and_allows_impossible_ids() -> None:
    p_NV = torch.tensor([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0], [0.25] * 4], dtype=torch.float64)
    expected = torch.as_tensor(stats.entropy(p_NV.numpy(), axis=1))
    torch.testing.assert_close(entropy(p_NV.log()), expected)
    torch.testing.assert_close(entropy(p_NV.log().float()), expected.float())
    assert entropy(p_NV.log())[1] == 0.0
    shift = torch.linspace(-1e3, 1e3, len(p_NV))[:, None]
    torch.testing.assert_close(entropy(p_NV.log() + shift), expected)
    logits = p_NV.log()
    before = logits.clone()
    assert torch.equal(entropy(logits), entropy(before))
    assert torch.equal(logits, before), "what it is given stays as it is"
    assert torch.isnan(entropy(torch.full((1, 3), torch.nan)))


def test_margin_is_the_gap_to_the_most_likely_other_id() -> None:
    logp_NV = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).double().log()
    expected = torch.tensor([2.0, 0.5, torch.inf, 0.0]).double().log()
    expected[2] = torch.inf
    torch.testing.assert_close(margin(logp_NV, torch.tensor([0, 1, 0, 1])), expected)
    with pytest.raises(ValueError, match=r"`logits_NV` must hold at least 2 ids, got 1"):
        margin(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))


def test_total_variation_is_the_largest_difference_over_events() -> None:
    p_NV, q_NV = torch.rand(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    events = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)  # all 16 subsets
    expected = ((p_NV - q_NV) @ events.T).amax(1)
    torch.testing.assert_close(total_variation(p_NV.log(), q_NV.log()), expected)
    assert total_variation(torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])) == 1.0
