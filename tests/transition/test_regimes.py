"""Every rule of `judge` at its limit."""

import math

import numpy as np
import pytest

from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.regimes import (
    GENERALIZING,
    IN_TRANSITION,
    MEMORIZING,
    NOT_AT_ITS_END,
    NOT_LEARNED,
    UNDETERMINED,
    Evidence,
    judge,
)

E = 1e-9


def around(value, half):
    return Interval(value, value - half, value + half)


LEARNED = Evidence(  # a generalizing run; every case below changes one value
    train=around(0.24, 0.01),
    test=around(0.235, 0.01),
    gap=Interval(0.005, -0.009, 0.019),
    coincidence=0.0756,
    nelbo=2.1,
    unigram_entropy=2.85,
    falling=False,
    draws=4096,
)
OWN = LEARNED._replace(train=around(0.998, 0.001), test=around(0.09, 0.01), gap=around(0.908, 0.01))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, GENERALIZING),
        # rule 1 and 2: the gap's interval wholly above the tolerance; train recovery at 0.95
        ({"gap": Interval(0.03, 0.02 + E, 0.04)}, IN_TRANSITION),
        ({"gap": Interval(0.03, 0.02, 0.04)}, UNDETERMINED),
        ({"train": around(0.95, 0.01), "gap": Interval(0.03, 0.02 + E, 0.04)}, MEMORIZING),
        ({"train": around(0.95 - E, 0.01), "gap": Interval(0.03, 0.02 + E, 0.04)}, IN_TRANSITION),
        ({"train": around(0.99, 0.001)}, GENERALIZING),  # easy text: both near 1
        # rule 3: test recovery against coincidence
        ({"test": Interval(0.09, 0.0756, 0.1)}, NOT_LEARNED),
        ({"test": Interval(0.09, 0.0756 + E, 0.1)}, GENERALIZING),
        ({"test": Interval(0.03, 0.02, 0.0756 - E)}, NOT_LEARNED),
        # ... and the NELBO against the unigram entropy
        ({"nelbo": 2.75 + E}, NOT_LEARNED),
        ({"nelbo": 2.75 - E}, GENERALIZING),
        ({"nelbo": math.inf}, NOT_LEARNED),
        ({"nelbo": None}, GENERALIZING),
        ({"unigram_entropy": None, "nelbo": 9.0}, GENERALIZING),
        # rule 3 holds with a wide gap, too, but not with one that is surely above the tolerance
        ({"test": Interval(0.09, 0.07, 0.1), "gap": around(0.0, 0.05)}, NOT_LEARNED),
        ({"test": Interval(0.09, 0.07, 0.1), "gap": Interval(0.05, 0.021, 0.08)}, IN_TRANSITION),
        # rule 4: both ends inside
        ({"gap": Interval(0.0, -0.02, 0.01)}, UNDETERMINED),
        ({"gap": Interval(0.0, -0.02 + E, 0.02 - E)}, GENERALIZING),
        ({"gap": Interval(0.0, -0.01, 0.02)}, UNDETERMINED),
        ({"gap": Interval(-0.05, -0.06, -0.03)}, UNDETERMINED),
        # missing values have no effect
        ({"coincidence": None}, UNDETERMINED),
        ({"coincidence": math.nan}, UNDETERMINED),
        ({"train": None}, UNDETERMINED),
        ({"test": None}, UNDETERMINED),
        ({"gap": None}, UNDETERMINED),
        ({"gap": Interval(0.0, math.nan, math.nan)}, UNDETERMINED),
        ({"test": Interval(0.2, math.nan, math.nan)}, UNDETERMINED),
        # a qualifier never changes the regime
        ({"falling": True}, GENERALIZING),
        ({"falling": None}, GENERALIZING),
    ],
)
def test_every_rule_at_its_limit(change, name):
    found = judge(LEARNED._replace(**change))
    assert found.name == name
    assert found.reason.endswith(".")
    assert "nan" not in found.reason
    assert found.qualifiers == ((NOT_AT_ITS_END,) if change.get("falling") else ())


def test_a_memorizing_run_has_learned():
    found = judge(OWN._replace(nelbo=14.0, test=around(0.03, 0.01), falling=True))
    assert (found.name, found.qualifiers) == (MEMORIZING, (NOT_AT_ITS_END,))
    assert "0.998" in found.reason


NETWORK = np.random.default_rng(0).uniform(size=(32, 4))


@pytest.mark.parametrize("number", range(32))
def test_a_run_that_has_not_learned_never_generalizes(number):
    """Untrained networks recover by coincidence; short training recovers a little and has a large NELBO."""
    luck, width, bound, seen = NETWORK[number]
    untrained = number % 2 == 0
    half = 0.002 + 0.03 * width
    test = 0.0756 + (luck - 0.5) * half if untrained else 0.08 + 0.1 * luck
    nelbo = 3.3 + bound if untrained else 2.76 + 0.1 * bound
    found = judge(
        LEARNED._replace(
            train=around(test + 0.002 * (seen - 0.5), half),
            test=around(test, half),
            gap=around(0.002 * (seen - 0.5), half),
            nelbo=nelbo,
            falling=not untrained,
        )
    )
    assert found.name == NOT_LEARNED


def test_the_run_of_400_steps_of_the_issue():
    """An earlier rule called it generalizing at 0.055 / 0.053."""
    found = judge(
        LEARNED._replace(train=around(0.055, 0.008), test=around(0.053, 0.008), gap=around(0.002, 0.01), nelbo=2.84)
    )
    assert found.name == NOT_LEARNED
    assert found.reason == (
        "Recovery is 0.055 on train rows and 0.053 on test rows; the interval of test recovery 0.053 (0.045 to 0.061) "
        "lies below the coincidence level 0.076."
    )


def test_the_gap_of_the_issue_is_no_equivalence():
    """ "Unseen text is as stable as its own" stood beside a gap of 0.054 (0.018 to 0.092)."""
    found = judge(LEARNED._replace(gap=Interval(0.054, 0.018, 0.092), draws=512))
    assert found.name == UNDETERMINED
    assert found.draws_needed == math.ceil(512 * (0.036 / 0.034) ** 2)
    assert f"about {found.draws_needed:,} draws for each split would decide" in found.reason


@pytest.mark.parametrize(
    ("gap", "needed"),
    [
        (Interval(0.0, -0.03, 0.03), 2304),  # 1024 (0.03 / 0.02)^2
        (Interval(0.01, -0.01, 0.03), 4096),
        (Interval(-0.01, -0.03, 0.01), 4096),
        (Interval(0.03, 0.0, 0.06), 9216),  # the interval would be outside
        (Interval(0.02, 0.0, 0.04), None),  # at the tolerance no number of draws suffices
    ],
)
def test_the_number_of_draws_needed(gap, needed):
    found = judge(LEARNED._replace(gap=gap, draws=1024))
    assert (found.name, found.draws_needed) == (
        UNDETERMINED,
        needed if needed is None else pytest.approx(needed, abs=1),
    )
    assert judge(LEARNED._replace(gap=gap, draws=0)).draws_needed is None
    if needed:  # with this many draws and the same value the regime is known
        shrink = math.sqrt(1024 / (found.draws_needed + 1))
        value, low, high = gap
        regime = judge(
            LEARNED._replace(gap=Interval(value, value - (value - low) * shrink, value + (high - value) * shrink))
        )
        assert regime.name in (GENERALIZING, IN_TRANSITION)


def test_printed_numbers_are_on_the_right_side_of_a_limit():
    assert "(0.0204 to 0.040)" in judge(LEARNED._replace(gap=Interval(0.03, 0.0204, 0.04))).reason
    assert "(-0.009 to 0.0196)" in judge(LEARNED._replace(gap=Interval(0.005, -0.009, 0.0196))).reason
    assert "2.7504 nats" in judge(LEARNED._replace(nelbo=2.7504)).reason
    assert "0.9496 is below 0.95" in judge(OWN._replace(train=around(0.9496, 0.01))).reason


def test_the_tolerance_is_stated_and_can_be_changed():
    assert judge(LEARNED._replace(gap=around(0.03, 0.01)), 0.05).name == GENERALIZING
    assert "inside the tolerance 0.05" in judge(LEARNED._replace(gap=around(0.03, 0.01)), 0.05).reason
    for tolerance in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"`tolerance` must be in \(0, 1\)"):
            judge(LEARNED, tolerance)
