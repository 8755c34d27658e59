"""Statistics of predictions against sums of their definitions in Python floats."""

import math

import pytest
import torch

from uddm_lightning.processes.row_statistics import row_statistics


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_statistic_is_its_definition(dtype: torch.dtype) -> None:
    rows, ids = [[0.5, -2.0, 3.0, 0.0], [-math.inf, 1.0, 1.0, -math.inf]], [1, 2]
    found = row_statistics(torch.tensor(rows, dtype=dtype), torch.tensor(ids))
    for token, (logits, own) in enumerate(zip(rows, ids, strict=True)):
        normaliser = math.log(math.fsum(math.exp(value) for value in logits))
        logp = sorted((value - normaliser for value in logits), reverse=True)
        entropy = -math.fsum(math.exp(value) * value for value in logp if value > -math.inf)
        expected = (normaliser, entropy, logits[own] - normaliser, logp[0], logp[1], logits.index(max(logits)))
        assert [float(value_N[token]) for value_N in found] == pytest.approx(expected, rel=1e-6)


def test_half_precision_is_evaluated_in_float32() -> None:
    found = row_statistics(torch.zeros(1, 1000, dtype=torch.bfloat16), torch.tensor([3]))
    assert found.entropy.dtype == torch.float32
    assert float(found.entropy) == pytest.approx(math.log(1000.0), rel=1e-6)
