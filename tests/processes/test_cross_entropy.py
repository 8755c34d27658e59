"""Cross-entropy with an offset to one logit, against sums of the formula in float64."""

import math

import pytest
import torch

from uddm_lightning.processes.cross_entropy import cross_entropy_and_gradient

LOGITS = [[0.3, -1.2, 2.0], [5.0, 0.0, -5.0]]
TARGETS, AT, OFFSETS, WEIGHTS = [1, 0], [1, 2], [0.7, 9.0], [0.5, 2.0]


@pytest.mark.parametrize("shifted", [False, True], ids=["plain", "offset"])
def test_loss_and_gradient(shifted: bool) -> None:
    offset_N, at_N = (torch.tensor(OFFSETS), torch.tensor(AT)) if shifted else (None, None)
    found = cross_entropy_and_gradient(
        torch.tensor(LOGITS, dtype=torch.float64), torch.tensor(TARGETS), torch.tensor(WEIGHTS), offset_N, at_N
    )
    for token, (logits, target, weight) in enumerate(zip(LOGITS, TARGETS, WEIGHTS, strict=True)):
        values = [value + shifted * OFFSETS[token] * (index == AT[token]) for index, value in enumerate(logits)]
        total = math.fsum(math.exp(value) for value in values)
        assert float(found.loss_N[token]) == pytest.approx(math.log(total) - values[target], rel=1e-6)
        expected = [weight * (math.exp(value) / total - (index == target)) for index, value in enumerate(values)]
        assert found.gradient_NV is not None
        assert found.gradient_NV[token].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_without_weights_there_is_no_gradient() -> None:
    found = cross_entropy_and_gradient(torch.zeros(1, 4), torch.tensor([2]), None)
    assert found.gradient_NV is None
    assert float(found.loss_N) == pytest.approx(math.log(4.0))
