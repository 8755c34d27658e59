"""Losses with their gradients, compared with autograd in float64."""

import pytest
import torch

from uddm_lightning.core.gradients import loss_and_gradient_by_autograd, round_gradient


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_gradient_is_that_of_the_weighted_sum(dtype: torch.dtype) -> None:
    logits_NV = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.5, 0.25]], dtype=dtype)
    weight_N = torch.tensor([0.5, 2.0])
    found = loss_and_gradient_by_autograd(lambda z_NV: z_NV.logsumexp(1), logits_NV, weight_N)
    assert found.loss_N.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.gradient_NV is not None
    assert found.gradient_NV.dtype == dtype
    torch.testing.assert_close(found.loss_N.double(), logits_NV.double().logsumexp(1), atol=1e-6, rtol=1e-6)
    exact_NV = weight_N.double()[:, None] * logits_NV.double().softmax(1)
    tolerance = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.gradient_NV.double(), exact_NV, atol=tolerance, rtol=tolerance)
    assert loss_and_gradient_by_autograd(lambda z_NV: z_NV.sum(1), logits_NV, None).gradient_NV is None


def test_a_gradient_above_the_range_of_float16_is_clamped() -> None:
    assert round_gradient(torch.tensor([[1e6, -1e6, 1.0]]), torch.float16).tolist() == [[65504.0, -65504.0, 1.0]]
    assert round_gradient(torch.tensor([[1e6]]), torch.bfloat16).isfinite().all()
