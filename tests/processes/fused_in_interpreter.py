"""Triton kernels against float64. `test_fused.py` runs this file with TRITON_INTERPRET=1."""

import pytest
import torch
from torch import Tensor

from uddm_lightning.backbones import DiT
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient, loss_and_gradient_by_autograd
from uddm_lightning.metrics import functional
from uddm_lightning.objectives import NELBO, DenoisingCrossEntropy, LeaveOneOutCrossEntropy, Objective
from uddm_lightning.processes import UniformProcess, fused, fused_triton
from uddm_lightning.processes.row_statistics import row_statistics
from uddm_lightning.processes.schedules import LogLinearSchedule

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}
SIZES = [(1, 31), (5, 1000), (2, 30_522)]  # tokens and ids


@pytest.fixture(params=["whole rows", "tiles"])
def rows(request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read rows at once or, as those of more than 65,536 ids, in tiles."""
    if request.param == "tiles":
        monkeypatch.setattr(fused_triton, "LARGEST_BLOCK", 1)
        # the interpreter takes the same time for a tile of any size
        many = request.node.callspec.params.get("V", 0) > 1000
        monkeypatch.setattr(fused_triton, "TILE", 4096 if many else 256)


def losses(
    objective: Objective, dtype: torch.dtype, N: int, V: int, t: float
) -> tuple[LossAndGradient, LossAndGradient, Tensor]:
    """Return loss and gradient of the kernel, those of autograd in float64, and the weights."""
    process, generator = UniformProcess(V, LogLinearSchedule()), torch.Generator().manual_seed(N + V)
    logits = (3 * torch.randn(N, V, generator=generator)).to(dtype)
    x0 = torch.randint(V, (N,), generator=generator)
    xt = torch.where(torch.arange(N) % 2 == 0, torch.randint(V, (N,), generator=generator), x0)
    level = process.level(torch.full((N,), t, dtype=torch.float64))
    weight = torch.linspace(0.5, 2, N, dtype=torch.float64)
    given = x0, xt, level.alpha, level.slope
    exact = loss_and_gradient_by_autograd(
        lambda values: objective.token_loss(process, values, NoisyTokens(*given)), logits.double(), weight
    )
    found = objective.loss_and_gradient(process, logits, NoisyTokens(*given), weight)
    assert found.gradient_NV.data_ptr() == logits.data_ptr(), "the gradient replaces the logits"
    assert found.gradient_NV.dtype == dtype
    return found, exact, level.slope / level.alpha


@pytest.mark.parametrize("t", [1e-3, 1.0])
@pytest.mark.parametrize(("N", "V"), SIZES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("objective", [NELBO(), DenoisingCrossEntropy(), LeaveOneOutCrossEntropy()])
def test_losses_and_gradients(rows, objective: Objective, dtype: torch.dtype, N: int, V: int, t: float) -> None:
    found, exact, size = losses(objective, dtype, N, V, t)
    # at t = 1, terms of size slope / alpha cancel in the NELBO
    scale = exact.loss_N.abs() if t < 1.0 or not isinstance(objective, NELBO) else exact.loss_N.abs() + size.abs()
    assert found.loss_N.dtype == torch.float32
    assert ((found.loss_N - exact.loss_N).abs() <= 1e-5 * scale.clamp(min=0.1)).all()
    error = (found.gradient_NV.double() - exact.gradient_NV).abs().amax(1)
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    assert (error <= TOLERANCE[dtype] * exact.gradient_NV.abs().amax(1) + smallest).all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy, for NaN in the interpreter
def test_a_weight_of_zero_removes_the_gradient() -> None:
    process, logits = UniformProcess(7, LogLinearSchedule()), torch.full((2, 7), torch.nan)
    ids, level = torch.zeros(2, dtype=torch.int64), process.level(torch.full((2,), 0.5))
    for objective in (NELBO(), DenoisingCrossEntropy()):
        found = objective.loss_and_gradient(
            process, logits.clone(), NoisyTokens(ids, ids, *level[:2]), torch.tensor([0.0, 1.0])
        )
        assert (found.gradient_NV[0] == 0).all()
        assert found.gradient_NV[1].isnan().all()


@pytest.mark.parametrize("without", [NELBO(), DenoisingCrossEntropy()])
def test_losses_without_gradient_leave_the_logits(rows, without: Objective) -> None:
    process, logits = UniformProcess(300, LogLinearSchedule()), torch.randn(3, 300)
    before, ids, level = logits.clone(), torch.arange(3), process.level(torch.full((3,), 0.5))
    found = without.loss_and_gradient(process, logits, NoisyTokens(ids, ids, level.alpha, level.slope), None)
    assert found.gradient_NV is None
    assert logits.equal(before)
    torch.testing.assert_close(
        found.loss_N, without.token_loss(process, logits, NoisyTokens(ids, ids, level.alpha, level.slope))
    )


@pytest.mark.parametrize(("N", "V"), SIZES)
@pytest.mark.parametrize("dtype", [*TOLERANCE, torch.float64])
def test_statistics(rows, monkeypatch, dtype: torch.dtype, N: int, V: int) -> None:
    generator = torch.Generator().manual_seed(V)
    logits = (3 * torch.randn(N, V, generator=generator)).to(dtype)
    logits[:, 1] = float("-inf")
    ids = torch.randint(V, (N,), generator=generator)
    found, entropy = row_statistics(logits, ids), functional.entropy(logits)
    monkeypatch.setattr(fused, "_is_interpreted", lambda: False)
    exact = row_statistics(logits.double(), ids)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, check_dtype=False)
    torch.testing.assert_close(entropy.double(), exact.entropy, rtol=tolerance, atol=tolerance)


def test_the_smallest_of_equal_ids_is_the_top(rows) -> None:
    logits = torch.zeros(1, 700)
    logits[0, [300, 301, 650]] = 1.0
    found = row_statistics(logits, torch.tensor([0]))
    assert found.top_id.tolist() == [300]
    assert found.top.equal(found.second)


def test_a_training_step_uses_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    process, gradients = UniformProcess(31, LogLinearSchedule()), []
    for interpreted in (True, False):
        monkeypatch.setattr(fused, "_is_interpreted", lambda interpreted=interpreted: interpreted)
        torch.manual_seed(0)
        net = DiT(31, hidden_size=16, n_blocks=1, n_heads=2, dropout=0.0, gate_init=1.0)
        torch.nn.init.normal_(net.output_layer.linear.weight)
        text = torch.arange(14).view(2, 7)
        noised = process.corrupt(text, torch.tensor([0.3, 0.9]), torch.arange(2))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            NELBO()(process, net, noised).total.backward()
        assert any(event.key == "uddm::nelbo" for event in profile.key_averages()) is interpreted
        gradients.append([parameter.grad for parameter in net.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
