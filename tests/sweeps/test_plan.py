"""Which sizes a sweep trains."""

from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.core.errors import InputError
from uddm_lightning.sweeps.plan import plan


class Work:
    """A sweep of one backbone that records the sizes that it trains."""

    variants = ("DiT",)

    def __init__(self) -> None:
        self.trained: list[list[int]] = []

    def check_same_config(self, variant: str, sizes: list[int]) -> None:
        assert variant == "DiT"

    def runs(self, variant: str, sizes: list[int]) -> list[int]:
        return list(sizes)

    def best_runs(self, size: int) -> list[int]:
        return [-size]

    def train(self, runs: list[int], ended: object) -> None:
        self.trained.append(runs)


@pytest.mark.parametrize(
    ("text", "largest", "trained"),
    [("2,16", 64, [2, 16, -16]), (None, 8, [2, 8, -8]), (None, 128, [2, 8, 32, 128, -128])],
)
def test_fixed_sizes_are_trained_before_the_exact_model(text: str | None, largest: int, trained: list[int]) -> None:
    work: Any = Work()
    plan(text, None, largest, int)(work)
    assert work.trained == [trained]


def test_adaptive_sizes_stay_within_the_budget_and_the_range() -> None:
    work: Any = Work()
    work.runs = lambda variant, sizes: [SimpleNamespace(size=size, finished=lambda: False) for size in sizes]
    plan("auto:8:512", 4, 2, int)(work)
    sizes = [run.size for runs in work.trained[:-1] for run in runs]
    assert len(sizes) <= 4
    assert 8 <= min(sizes) < max(sizes) <= 512


@pytest.mark.parametrize(
    ("text", "budget", "message"),
    [
        ("2,4", 5, "`--budget 5` needs `--sizes auto`"),
        ("auto:8", 5, "`--sizes auto:8`: give auto, or auto:first:last"),
        ("auto:64:8", 5, "`--sizes auto:64:8`: 64 to 8 rows is no range"),
        ("auto", None, "needs `--budget R`, the number of sizes to train, at least 4; got None"),
        ("auto", 3, "at least 4; got 3"),
    ],
)
def test_wrong_options_are_named(text: str, budget: int | None, message: str) -> None:
    with pytest.raises(InputError) as refused:
        plan(text, budget, 512, int)
    assert message in str(refused.value)
