from itertools import pairwise
from typing import Any

import pytest

from tests.support.plugins import cases, make
from uddm_lightning.training.lr_schedules import LRSchedule, WarmupConstant, WarmupLinear


def test_constant_is_the_rate_of_the_paper() -> None:
    rate = WarmupConstant(2500)
    assert [rate(k, 1_000_000) for k in (0, 1, 1250, 2500, 999_999)] == [0.0, 1 / 2500, 0.5, 1.0, 1.0]
    assert rate(10_000, -1) == 1.0


def test_no_warmup_starts_at_full_rate() -> None:
    assert WarmupConstant()(0, 10) == 1.0
    assert WarmupLinear()(0, 10) == 1.0


def test_linear_rises_then_falls_to_its_floor() -> None:
    rate = WarmupLinear(warmup_steps=100, min_lr_ratio=0.05)
    assert rate(0, 2000) == 0.0
    assert rate(50, 2000) == 0.5
    assert rate(100, 2000) == 1.0
    assert rate(1050, 2000) == pytest.approx(0.525)
    assert rate(2000, 2000) == pytest.approx(0.05)
    assert rate(5000, 2000) == pytest.approx(0.05)


@pytest.mark.parametrize("total", [-1, 1, 100])
def test_linear_without_room_to_fall_only_warms_up(total: int) -> None:
    rate = WarmupLinear(warmup_steps=100, min_lr_ratio=0.0)
    assert [rate(k, total) for k in (0, 50, 100, 200)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("cls", [WarmupConstant, WarmupLinear])
def test_warmup_error(cls: type) -> None:
    with pytest.raises(ValueError, match=r"^`warmup_steps` must be at least 0, got -1\.$"):
        cls(warmup_steps=-1)


@pytest.mark.parametrize("floor", [-0.1, 1.5, float("nan")])
def test_floor_error(floor: float) -> None:
    with pytest.raises(ValueError, match=rf"^`min_lr_ratio` must be in \[0, 1\], got {floor}\.$"):
        WarmupLinear(min_lr_ratio=floor)


@pytest.mark.parametrize(("cls", "options"), cases(LRSchedule))
class TestLearningRate:
    def test_factor_warms_up_and_stays_in_range(self, cls: type, options: dict[str, Any]) -> None:
        rate = make(cls, warmup_steps=10, **options)
        for total in (-1, 100):
            factors = [rate(finished, total) for finished in range(100)]
            assert factors[0] == 0.0
            assert factors[:11] == pytest.approx([k / 10 for k in range(11)])
            assert all(0.0 <= factor <= 1.0 for factor in factors)
            assert all(isinstance(factor, float) for factor in factors)
            assert max(abs(a - b) for a, b in pairwise(factors)) <= 0.1 + 1e-9
        assert make(cls, **options)(0, 100) == pytest.approx(1.0)

    def test_warmup_error(self, cls: type, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"^`warmup_steps` must be at least 0, got -3\.$"):
            cls(warmup_steps=-3, **options)
