import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.support.toy_worlds import TableBackbone
from uddm_lightning.backbones import Backbone
from uddm_lightning.core.batch import Noised
from uddm_lightning.objectives import NELBO, DenoisingCrossEntropy, Objective
from uddm_lightning.processes import Parameterization, UniformProcess

V, B, L = 5, 6, 7
OBJECTIVES = [NELBO, DenoisingCrossEntropy]


class CastBackbone(Backbone):
    """A backbone that casts features to a dtype, as in mixed precision."""

    def __init__(self, inner: Backbone, dtype: torch.dtype) -> None:
        super().__init__(inner.vocab_size)
        self.inner, self.dtype = inner, dtype

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        return self.inner(tokens_BL, sigma_B, valid_BL).to(self.dtype)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND


def test_parameterizations() -> None:
    assert NELBO.parameterization is Parameterization.LEAVE_ONE_OUT
    assert DenoisingCrossEntropy.parameterization is Parameterization.POSTERIOR


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_times_are_linear_in_the_quantiles(cls: type[Objective]) -> None:
    quantiles = torch.tensor([0.0, 0.25, 0.5, 1 - 2**-53], dtype=torch.float64)
    times = cls(t_min=0.02, t_max=0.82).times(quantiles)
    assert times.dtype == torch.float64
    torch.testing.assert_close(times, torch.tensor([0.02, 0.22, 0.42, 0.82], dtype=torch.float64))
    torch.testing.assert_close(cls().times(quantiles[:1]), torch.tensor([1e-3], dtype=torch.float64))
    assert cls().times(quantiles[3:]) <= 1.0
    assert cls().times(quantiles.float()).dtype == torch.float64


@pytest.mark.parametrize("cls", OBJECTIVES)
@pytest.mark.parametrize(
    ("t_min", "t_max"), [(0.0, 1.0), (-0.1, 0.5), (0.5, 0.5), (0.6, 0.5), (0.1, 1.01), (float("nan"), 1.0)]
)
def test_range_errors(cls: type[Objective], t_min: float, t_max: float) -> None:
    message = rf"^`t_min` and `t_max` must satisfy 0 < t_min < t_max <= 1, got {t_min} and {t_max}\.$"
    with pytest.raises(ValueError, match=message):
        cls(t_min=t_min, t_max=t_max)


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_padding_has_no_loss_and_no_gradient(
    cls: type[Objective], process: UniformProcess, noised: Noised, rng: torch.Generator
) -> None:
    valid = torch.rand(B, L, generator=rng) < 0.7
    valid[0] = False
    backbone = TableBackbone(V, L, context=False)
    whole = cls()(process, backbone, noised).tokens_N.view(B, L)
    total, masked_N = cls()(process, backbone, noised._replace(valid_BL=valid))
    masked = masked_N.view(B, L)
    assert (masked[~valid] == 0).all()
    assert (whole[~valid] != 0).any()
    assert torch.equal(masked[valid], whole[valid])
    torch.testing.assert_close(total, masked.mean())
    (of_masked,) = torch.autograd.grad(total, backbone.table)
    logits = backbone(noised.xt_BL, process.level(noised.t_B).sigma)[valid]
    alpha, slope = (level[:, None].expand(B, L)[valid] for level in (noised.alpha_B, noised.slope_B))
    losses = cls().token_loss(process, logits, noised.x0_BL[valid], noised.xt_BL[valid], alpha, slope)
    (of_valid,) = torch.autograd.grad(losses.sum() / (B * L), backbone.table)
    torch.testing.assert_close(of_masked, of_valid, rtol=0, atol=1e-12)


def test_valid_mask_is_passed_to_the_backbone(process: UniformProcess, noised: Noised) -> None:
    valid = torch.arange(L).expand(B, L) < 4
    changed = noised._replace(xt_BL=noised.xt_BL.where(valid, (noised.xt_BL + 1) % V), valid_BL=valid)
    backbone = TableBackbone(V, L)
    one, other = (NELBO()(process, backbone, given).total for given in (noised._replace(valid_BL=valid), changed))
    assert torch.equal(one, other)


@pytest.mark.parametrize("cls", OBJECTIVES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_cast_to_float32(
    cls: type[Objective], dtype: torch.dtype, process: UniformProcess, noised: Noised
) -> None:
    backbone = TableBackbone(V, L)
    half = CastBackbone(backbone, dtype)
    total, losses = cls()(process, half, noised)
    assert total.dtype == losses.dtype == torch.float32
    assert torch.equal(losses, cls()(process, CastBackbone(half, torch.float32), noised).tokens_N)


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_float64_stays_float64(cls: type[Objective], process: UniformProcess, noised: Noised) -> None:
    total, losses = cls()(process, TableBackbone(V, L), noised)
    assert total.dtype == losses.dtype == torch.float64


@pytest.mark.parametrize("cls", OBJECTIVES)
@pytest.mark.parametrize("alpha", [0.999, 0.5, 0.001])
def test_gradient_equals_finite_differences(cls: type[Objective], alpha: float, process: UniformProcess) -> None:
    x0, xt = torch.arange(4), torch.tensor([0, 2, 2, 1])
    logits = torch.randn(4, V, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    alphas, slopes = torch.full((4,), alpha, dtype=torch.float64), torch.full((4,), -1.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda given: cls().token_loss(process, given, x0, xt, alphas, slopes), (logits,), rtol=1e-4, atol=1e-6
    )
