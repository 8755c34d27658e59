"""The temperature of the smallest cross-entropy, against closed forms and a root of the slope."""

import math

import pytest
import torch

from uddm_lightning.metrics import BestTemperature, RowIds
from uddm_lightning.metrics.temperature import TEMPERATURES, best_temperature, tempered_cross_entropies


def fitted(logits_NV: torch.Tensor, x0_N: torch.Tensor) -> float:
    metric, half = BestTemperature(), len(x0_N) // 2
    for number, some in enumerate((slice(0, half), slice(half, None))):
        losses = [loss_N[some][None] for loss_N in tempered_cross_entropies(logits_NV, x0_N)]
        metric.update(losses, torch.ones_like(x0_N[some][None]).bool(), RowIds(torch.tensor([number])))
    return metric.compute()


@pytest.mark.parametrize(("logit", "share"), [(2.0, 0.7), (0.4, 0.7), (6.0, 0.6)])
def test_two_ids_in_closed_form(logit: float, share: float) -> None:
    """The best T predicts the observed share: sigmoid(logit / T) = share."""
    x0_N = (torch.arange(100) >= 100 * share).long()
    logits_NV = torch.tensor([[logit, 0.0]], dtype=torch.float64).expand(100, 2)
    assert fitted(logits_NV, x0_N) == pytest.approx(logit / math.log(share / (1 - share)), rel=5e-3)


def test_any_logits_against_the_root_of_the_slope() -> None:
    generator = torch.Generator().manual_seed(1)
    logits_NV = 3 * torch.randn(400, 5, generator=generator, dtype=torch.float64)
    x0_N = torch.multinomial((logits_NV / 2.5).softmax(1), 1, generator=generator)[:, 0]

    def slope(beta: float) -> float:
        """Derivative of the mean loss in 1 / T: expected minus observed logit."""
        p_NV = (beta * logits_NV).softmax(1)
        return float((p_NV * logits_NV).sum(1).mean() - logits_NV.gather(1, x0_N[:, None]).mean())

    low, high = 0.01, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    exact = 1 / low
    assert 2 < exact < 3
    assert fitted(logits_NV, x0_N) == pytest.approx(exact, rel=5e-3)
    assert fitted(4 * logits_NV, x0_N) == pytest.approx(4 * exact, rel=5e-3)


def test_no_temperature_without_a_minimum_inside_the_range() -> None:
    logits_NV = torch.tensor([[1.0, 0.0]]).expand(10, 2)
    assert math.isnan(fitted(logits_NV, torch.zeros(10).long())), "always right: the sharper the better"
    assert math.isnan(fitted(logits_NV, torch.ones(10).long())), "always wrong"
    assert math.isnan(BestTemperature().compute()), "no tokens"
    assert math.isnan(best_temperature([math.nan] * len(TEMPERATURES)))


def test_only_masked_tokens_count() -> None:
    metric = BestTemperature()
    logits_NV, x0_N = torch.tensor([[2.0, 0.0]]).expand(12, 2), torch.tensor([0] * 7 + [1] * 5)
    losses = [loss_N[None] for loss_N in tempered_cross_entropies(logits_NV, x0_N)]
    metric.update(losses, torch.arange(12)[None] < 10, RowIds(torch.tensor([0])))
    metric.update(losses, torch.ones(1, 12).bool(), RowIds(torch.tensor([-1])))  # a filler
    assert metric.compute() == pytest.approx(2 / math.log(7 / 3), rel=5e-3)
