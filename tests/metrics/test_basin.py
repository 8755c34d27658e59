"""ClassificationMargin and CriticalTime."""

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


def test_length_error() -> None:
    with pytest.raises(ValueError, match=r"^`length` must be at least 1, got 0\.$"):
        CriticalTime(0, (0.5,))
