"""ClassificationMargin and CriticalTime."""

import math

import pytest
import torch

from uddm_lightning.metrics import ClassificationMargin, CriticalTime, RowIds


def test_histograms_count_values_beyond_their_edges() -> None:
    metric = ClassificationMargin(-1.0, 1.0, 4)
    values = torch.tensor([[-torch.inf, -0.2, 0.3, 7.0, 0.0]])
    metric.update(values, torch.ones(1, 5, dtype=torch.bool), RowIds(torch.tensor([3])))
    result = metric.compute()
    assert result.histogram.tolist() == [1, 1, 2, 1]
    assert result.fixed_tokens == 0.4
    assert result.edges.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_the_hebbian_factor_is_what_is_left_of_hebb_s_rule() -> None:
    """For two ids the margin is 2 x h, and the factor 1 - tanh(x h). It is 0 or 2 where a prediction is certain."""
    fields = torch.tensor([[0.0, 0.7, -0.4], [torch.inf, -torch.inf, 1.0]])
    counted = torch.tensor([[True, True, True], [True, True, False]])
    metric = ClassificationMargin()
    metric.update(2 * fields, counted, RowIds(torch.tensor([0, 1])))
    expected = sum(1 - math.tanh(field) for field in (0.0, 0.7, -0.4, math.inf, -math.inf)) / 5
    assert metric.compute().hebbian_factor == pytest.approx(expected, abs=1e-7)


def test_length_error() -> None:
    with pytest.raises(ValueError, match=r"^`length` must be at least 1, got 0\.$"):
        CriticalTime(0, (0.5,))
