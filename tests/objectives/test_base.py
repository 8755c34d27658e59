"""Contract tests of objectives: noise levels, padding, precision and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.support.plugins import cases, make, plugins
from tests.support.toy_worlds import Joint, TableBackbone
from uddm_lightning.backbones import Backbone
from uddm_lightning.core.batch import Noised, NoisyTokens, TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import (
    NELBO,
    DenoisingCrossEntropy,
    LeaveOneOutCrossEntropy,
    Objective,
    ReweightedNELBO,
)
from uddm_lightning.processes import HybridProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

V, B, L = 5, 6, 7
OBJECTIVES = [NELBO, DenoisingCrossEntropy, LeaveOneOutCrossEntropy]


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
    assert LeaveOneOutCrossEntropy.parameterization is Parameterization.LEAVE_ONE_OUT
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
    losses = cls().token_loss(process, logits, NoisyTokens(noised.x0_BL[valid], noised.xt_BL[valid], alpha, slope))
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
        lambda given: cls().token_loss(process, given, NoisyTokens(x0, xt, alphas, slopes)),
        (logits,),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(("cls", "options"), cases(Objective))
class TestObjective:
    def test_times_stay_in_the_range(self, cls: type, options: dict[str, Any]) -> None:
        objective = make(cls, t_min=0.05, t_max=0.5, **options)
        times = objective.times(torch.linspace(0, 1 - 2**-53, 101, dtype=torch.float64))
        assert times.dtype == torch.float64
        assert times[0] >= 0.05
        assert times[-1] <= 0.5
        assert (times.diff() > 0).all(), "stratified quantiles must stay stratified"

    def test_range_errors(self, cls: type, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="`t_min` and `t_max` must satisfy"):
            cls(t_min=0.5, t_max=0.1, **options)

    @pytest.mark.parametrize("noise", plugins(Process))
    def test_loss_is_finite_non_negative_and_ignores_padding(
        self, cls: type, options: dict[str, Any], noise: type[Process]
    ) -> None:
        objective, process = make(cls, **options), noise(V, LogLinearSchedule())
        backbone = TableBackbone(process.num_states, L)
        if cls is ReweightedNELBO and noise is not HybridProcess:
            with pytest.raises(InputError, match=f"needs `model.process: HybridProcess`, got {noise.__name__}"):
                objective.check_compatible(process, backbone)
            return
        valid = torch.arange(L) < (torch.arange(B) + 1)[:, None]
        x0 = torch.arange(B * L).view(B, L) % V
        t = objective.times((torch.arange(B) + 0.5) / B)
        losses = []
        for filling in (x0, x0.where(valid, (x0 + 1) % V)):
            noised = process.corrupt(filling, t, torch.arange(B), valid)
            total, loss_N = objective(process, backbone, noised)
            loss_BL = loss_N.view(B, L)
            assert loss_BL.isfinite().all()
            assert (loss_BL >= 0).all()
            assert (loss_BL[~valid] == 0).all()
            torch.testing.assert_close(total, loss_BL.mean())
            losses.append(total)
        assert torch.equal(*losses)
        losses[0].backward()
        assert backbone.table.grad is not None
        assert backbone.table.grad.isfinite().all()
        assert backbone.table.grad.abs().sum() > 0

    def test_noise_is_a_function_of_the_row_and_the_step(self, cls: type, options: dict[str, Any]) -> None:
        objective, process = make(cls, **options), UniformProcess(V, LogLinearSchedule())
        rows, x0 = torch.arange(B), torch.arange(B * L).view(B, L) % V
        valid = torch.arange(L) < (rows + 1)[:, None]

        def noised(some: slice, step: int) -> list[Tensor]:
            quantiles = (rows + 0.5) / B
            parts = [part[some] for part in (x0, rows, rows, rows, quantiles.double(), valid)]
            found = objective.corrupt(process, TokenBatch(*parts, special_BL=None, seed=0, step=step))
            assert torch.equal(found.x0_BL, x0[some])
            assert torch.equal(found.xt_BL[~valid[some]], x0[some][~valid[some]])
            assert ((found.t_B >= 0) & (found.t_B <= 1)).all()
            assert ((found.alpha_B > 0) & (found.alpha_B < 1)).all()
            assert (found.slope_B < 0).all()
            return [*found[:5], *(found.soft or ())]

        for step in (0, 10**6):
            whole = noised(slice(None), step)
            parts = [noised(slice(start, start + 3), step) for start in range(0, B, 3)]
            for number, values in enumerate(whole):
                assert torch.equal(torch.cat([part[number] for part in parts]), values)

    @pytest.mark.parametrize("t", [0.2, 0.7])
    def test_loss_is_minimal_at_the_declared_parameterization(
        self, cls: type, options: dict[str, Any], t: float
    ) -> None:
        """Enumerate all rows of a random joint distribution. With a mask, both parameterizations are equal."""
        if cls is ReweightedNELBO:
            pytest.skip("needs the hybrid process: tests/processes/test_hybrid.py")
        joint, objective = Joint(3, 3, seed=6), make(cls, **options)
        process = UniformProcess(3, LogLinearSchedule())
        level = process.level(torch.tensor(t, dtype=torch.float64))
        X = len(joint.rows_XL)

        def mean(table_XLV: Tensor) -> Tensor:
            loss = objective.token_loss(
                process,
                table_XLV.expand(X, X, 3, 3).reshape(-1, 3),
                NoisyTokens(
                    joint.rows_XL[:, None].expand(X, X, 3).flatten(),
                    joint.rows_XL[None].expand(X, X, 3).flatten(),
                    level.alpha.expand(X * X * 3),
                    level.slope.expand(X * X * 3),
                ),
            )
            return (joint.noisy(float(level.alpha))[..., None] * loss.view(X, X, 3)).sum()

        ask = {Parameterization.LEAVE_ONE_OUT: joint.leave_one_out, Parameterization.POSTERIOR: joint.posterior}
        best = ask.pop(objective.parameterization)(float(level.alpha)).log().requires_grad_()
        (gradient,) = torch.autograd.grad(mean(best), best)
        assert gradient.abs().max() < 1e-10
        with torch.no_grad():
            (other,) = ask.values()
            assert mean(other(float(level.alpha)).log()) > mean(best) + 1e-3
            generator = torch.Generator().manual_seed(0)
            for _ in range(5):
                assert mean(best + 0.1 * torch.randn(best.shape, generator=generator, dtype=torch.float64)) > mean(best)
