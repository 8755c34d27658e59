"""The head's gradients in float16, whose smallest number is above the gradient of a token in a large batch.

A trainer on a CPU replaces float16 by bfloat16, so that the loss scale is set by hand here.
"""

import pytest
import torch
from torch import Tensor

from uddm_lightning.backbones import Backbone, chunked_head, chunks
from uddm_lightning.backbones.chunked_head import head_loss
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

V, N, D = 30_522, 2_048, 16
WEIGHT = 1 / 65_536


class Linear(Backbone):
    """A head alone."""

    def __init__(self) -> None:
        super().__init__(V)
        self.linear = torch.nn.Linear(D, V)

    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def head(self, hidden_ND: Tensor) -> Tensor:
        return self.linear(hidden_ND)


def gradients(dtype: torch.dtype, autocast: bool, loss_scale: float) -> list[Tensor]:
    """Return the gradients of head and features, float64, in `dtype` or under autocast to it."""
    process, objective, generator = UniformProcess(V, LogLinearSchedule()), NELBO(), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = Linear().to(torch.float32 if autocast else dtype)
    hidden_ND = torch.randn(N, D, generator=generator).to(net.linear.weight.dtype).requires_grad_()
    x0_N = torch.randint(V, (N,), generator=generator)
    level = process.level(torch.rand(N, generator=generator, dtype=torch.float64).clamp(min=1e-3))
    kept_N = torch.rand(N, generator=generator, dtype=torch.float64) < level.alpha
    xt_N = torch.where(kept_N, x0_N, torch.randint(V, (N,), generator=generator))

    def loss(logits_CV: Tensor, chunk: slice, weight: float | None) -> LossAndGradient:
        weight_C = torch.full((len(logits_CV),), weight, dtype=torch.float64)
        levels = level.alpha[chunk], level.slope[chunk]
        return objective.loss_and_gradient(process, logits_CV, NoisyTokens(x0_N[chunk], xt_N[chunk], *levels), weight_C)

    with torch.autocast("cpu", dtype, enabled=autocast):
        total = head_loss(net, hidden_ND, WEIGHT, loss).total
    (total * loss_scale).backward()
    return [value.grad.double() / loss_scale for value in (net.linear.weight, net.linear.bias, hidden_ND)]


@pytest.fixture(scope="module")
def exact() -> list[Tensor]:
    return gradients(torch.float64, autocast=False, loss_scale=1.0)


@pytest.mark.parametrize("elements", [2**22, 2**26], ids=["chunks", "one chunk"])
@pytest.mark.parametrize("loss_scale", [1.0, 65_536.0])
def test_gradients_in_float16_do_not_underflow(monkeypatch, exact, elements: int, loss_scale: float) -> None:
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", elements)
    half = gradients(torch.float16, autocast=True, loss_scale=loss_scale)
    for found, expected in zip(half, exact, strict=True):
        assert found.isfinite().all()
        assert (found == 0).double().mean() < 1e-3
        assert (found - expected).norm() <= 5e-3 * expected.norm()


def test_gradients_in_float16_underflow_without_their_scale(monkeypatch) -> None:
    monkeypatch.setattr(chunked_head, "_float16_scale", lambda weight, tokens: 1.0)
    weight, *_ = gradients(torch.float16, autocast=True, loss_scale=65_536.0)
    assert (weight == 0).double().mean() > 0.9
