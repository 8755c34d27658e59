"""Regimes by entropy: every rule, on both sides of its limit."""

import pytest

from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.entropy_regime import entropy_regime
from uddm_lightning.transition.regimes import GENERALIZING, IN_TRANSITION, MEMORIZING, NOT_LEARNED, UNDETERMINED


def around(value: float, half: float = 0.02) -> Interval:
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("train", "gap", "unigram", "regime"),
    [
        (0.1, 0.5, 2.8, MEMORIZING),
        (0.11, 0.5, 2.8, IN_TRANSITION),
        (0.05, 0.06, 2.8, UNDETERMINED),  # the gap is 0.04 to 0.08
        (1.5, 0.071, 2.8, IN_TRANSITION),
        (2.71, 0.0, 2.8, NOT_LEARNED),
        (2.69, 0.0, 2.8, GENERALIZING),
        (2.69, 0.0, None, GENERALIZING),
        (1.5, 0.031, 2.8, UNDETERMINED),
        (1.5, -0.1, 2.8, UNDETERMINED),
    ],
)
def test_the_first_rule_that_holds_decides(train: float, gap: float, unigram: float | None, regime: str) -> None:
    assert entropy_regime(around(train), around(gap), unigram) == regime


def test_a_model_whose_nelbo_has_not_learned_does_not_generalize() -> None:
    assert entropy_regime(around(2.0), around(0.0), 2.8, nelbo=2.71) == NOT_LEARNED
    assert entropy_regime(around(2.0), around(0.0), 2.8, nelbo=2.69) == GENERALIZING
    assert entropy_regime(around(0.05), around(0.5), 2.8, nelbo=5.0) == MEMORIZING


def test_without_measurements_nothing_is_known() -> None:
    assert entropy_regime(None, around(0.5), 2.8) == UNDETERMINED
    assert entropy_regime(around(0.0), None, 2.8) == UNDETERMINED
