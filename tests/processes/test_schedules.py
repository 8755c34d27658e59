import math
import sys
import types
from typing import Any

import pytest
import torch
from scipy import integrate

from tests.support.plugins import cases, make
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import CosineSchedule, LogLinearSchedule, NoiseLevel, Schedule

THIRD_PARTY_MODULE = '''
import torch
from uddm_lightning.processes.schedules import NoiseLevel, Schedule

class QuadraticSchedule(Schedule):
    """A schedule that changes fastest at t = 0."""

    def __call__(self, t):
        t = t.double()
        return NoiseLevel(1.0 - (1.0 - self.eps) * (2.0 * t - t * t), -(1.0 - self.eps) * (2.0 - 2.0 * t))
'''


@pytest.mark.parametrize("eps", [1e-3, 0.1, 0.9])
def test_log_linear_values(eps: float) -> None:
    level = LogLinearSchedule(eps)(torch.tensor([0.0, 0.25, 0.5, 1.0]))
    expected = [1.0, 0.75 + 0.25 * eps, 0.5 + 0.5 * eps, eps]
    torch.testing.assert_close(level.alpha, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(level.slope, torch.full((4,), eps - 1, dtype=torch.float64), rtol=0, atol=1e-15)


def test_cosine_values() -> None:
    level = CosineSchedule(1e-3)(torch.tensor([0.0, 1 / 3, 2 / 3, 1.0], dtype=torch.float64))
    root = math.sqrt(3) / 2
    expected = torch.tensor([1.0, 1 - 0.999 * (1 - root), 1 - 0.999 * 0.5, 1e-3], dtype=torch.float64)
    torch.testing.assert_close(level.alpha, expected, rtol=0, atol=1e-15)
    slope = -0.999 * math.pi / 2 * torch.tensor([0.0, 0.5, root, 1.0], dtype=torch.float64)
    torch.testing.assert_close(level.slope, slope, rtol=0, atol=1e-15)


def test_default_eps() -> None:
    assert LogLinearSchedule().eps == 1e-3


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
def test_sigma_is_the_integrated_rate(schedule: Schedule) -> None:
    """sigma is the integral of the corruption rate -alpha' / alpha."""

    def rate(t: float) -> float:
        level = schedule(torch.tensor(t))
        return float(-level.slope / level.alpha)

    for t in (0.1, 0.5, 0.9):
        sigma = schedule(torch.tensor(t, dtype=torch.float64)).sigma
        assert float(sigma) == pytest.approx(integrate.quad(rate, 0.0, t)[0], abs=1e-6)


def test_single_precision_times_are_converted_to_double() -> None:
    t = torch.tensor([0.1], dtype=torch.float32)
    assert LogLinearSchedule()(t).alpha.item() == 1.0 - 0.999 * t.double().item()


def test_third_party_schedule_in_the_uniform_process(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("third_party_schedules")
    exec(THIRD_PARTY_MODULE, module.__dict__)  # noqa: S102 simulates a module of another package
    monkeypatch.setitem(sys.modules, "third_party_schedules", module)
    process = UniformProcess(5, module.QuadraticSchedule(eps=0.01))
    keys = torch.arange(4000)
    x0 = torch.zeros(4000, 10, dtype=torch.int64)
    noised = process.corrupt(x0, torch.full((4000,), 0.3, dtype=torch.float64), keys)
    alpha = 1 - 0.99 * 0.51
    torch.testing.assert_close(noised.alpha_B, torch.full((4000,), alpha, dtype=torch.float64))
    changed = (noised.xt_BL != x0).double().mean()
    assert changed.item() == pytest.approx((1 - alpha) * 0.8, abs=0.01)
    level: NoiseLevel = process.level(torch.tensor([0.3], dtype=torch.float64))
    logp = process.leave_one_out(torch.zeros(1, 5), torch.tensor([1]), level.alpha, Parameterization.LEAVE_ONE_OUT)
    assert (
        process.nelbo(logp, NoisyTokens(torch.tensor([0]), torch.tensor([1]), level.alpha, level.slope))
        .isfinite()
        .all()
    )


@pytest.mark.parametrize(("cls", "options"), cases(Schedule))
class TestSchedule:
    def test_level_falls_from_one_to_eps(self, cls: type, options: dict[str, Any]) -> None:
        for eps in (1e-4, 1e-3, 0.2):
            schedule = make(cls, eps=eps, **options)
            level = schedule(torch.linspace(0, 1, 2001, dtype=torch.float64))
            assert float(level.alpha[0]) == pytest.approx(1.0, abs=1e-12)
            assert float(level.alpha[-1]) == pytest.approx(eps, abs=1e-9)
            assert (level.alpha.diff() < 0).all()
            assert (level.alpha > 0).all()
            assert (level.slope[1:] < 0).all()
            assert level.slope[0] <= 0
            assert level.slope.isfinite().all()

    def test_slope_is_the_derivative(self, cls: type, options: dict[str, Any]) -> None:
        schedule = make(cls, **options)
        t = torch.linspace(0.001, 0.999, 301, dtype=torch.float64).requires_grad_()
        level = schedule(t)
        (exact,) = torch.autograd.grad(level.alpha.sum(), t)
        torch.testing.assert_close(level.slope, exact, rtol=1e-10, atol=1e-12)
        with torch.no_grad():
            finite = (schedule(t + 1e-6).alpha - schedule(t - 1e-6).alpha) / 2e-6
        torch.testing.assert_close(level.slope.detach(), finite, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
    def test_any_shape_in_float64(
        self, cls: type, options: dict[str, Any], dtype: torch.dtype, shape: tuple[int, ...]
    ) -> None:
        level = make(cls, **options)(torch.full(shape, 0.3, dtype=dtype))
        assert level.alpha.shape == level.slope.shape == level.sigma.shape == shape
        assert level.alpha.dtype == level.slope.dtype == level.sigma.dtype == torch.float64
        torch.testing.assert_close(torch.exp(-level.sigma), level.alpha)

    @pytest.mark.parametrize("eps", [0.0, 1.0, -0.1, 1.5, float("nan")])
    def test_eps_errors(self, cls: type, options: dict[str, Any], eps: float) -> None:
        with pytest.raises(ValueError, match=rf"^`eps` must be in \(0, 1\), got {eps}\.$"):
            cls(eps=eps, **options)
