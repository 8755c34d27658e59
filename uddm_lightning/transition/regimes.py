"""The regime of a model, by absolute rules that hold for a single run and for a size of a sweep.

With g the interval of the gap (train recovery minus test recovery at the reference t) and a tolerance of 0.02, the
first rule that holds decides:

1. memorizing: train recovery is at least 0.95, and g lies wholly above the tolerance;
2. in transition: g lies wholly above the tolerance;
3. not learned yet: the interval of test recovery includes the coincidence level or lies below it, or the test NELBO is
   above the unigram entropy minus 0.1 nats;
4. generalizing: g lies wholly inside (-tolerance, tolerance), and test recovery wholly above coincidence;
5. undetermined: none of these.

Rules 1 and 2 come first, because a model that memorizes 8 rows restores no other text and has a large test NELBO.
"""

import math
from typing import NamedTuple

from uddm_lightning.results.reference import TOLERANCE
from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.equivalence import equivalence

MEMORIZING, IN_TRANSITION, GENERALIZING = "memorizing", "in transition", "generalizing"
NOT_LEARNED, UNDETERMINED = "not learned yet", "undetermined"
REGIMES = (MEMORIZING, IN_TRANSITION, GENERALIZING, NOT_LEARNED, UNDETERMINED)

RECALLED = 0.95  # least train recovery of a memorizing model
LEARNED = 0.1  # nats by which the test NELBO of a model that has learned lies below the unigram entropy, at least
NOT_AT_ITS_END = "training was not at its end"


class Evidence(NamedTuple):
    """Measurements of one size, pooled over its seeds, or of one run. None and NaN mean: not measured.

    Attributes:
        train: recovery of training rows at the reference t, in [0, 1].
        test: recovery of test rows there.
        gap: train minus test, from rows shared by both where there are any.
        coincidence: level of a chain that overwrites a row with unrelated text, in [0, 1].
        nelbo: test NELBO on the trained range of t, in nats per token.
        unigram_entropy: entropy of the pool's token frequencies, in nats.
        falling: whether the test NELBO fell over the last three validations, on the same rows with the same noise.
        draws: draws of recovery behind the gap, for each split.
    """

    train: Interval | None
    test: Interval | None
    gap: Interval | None
    coincidence: float | None
    nelbo: float | None
    unigram_entropy: float | None
    falling: bool | None
    draws: int


class Regime(NamedTuple):
    """A regime with its reason.

    Attributes:
        name: one of `REGIMES`.
        qualifiers: limits of the result, such as `NOT_AT_ITS_END`; they do not decide.
        reason: one sentence with the numbers that decided.
        draws_needed: approximate number of draws for each split that would decide; None if more draws do not help.
    """

    name: str
    qualifiers: tuple[str, ...]
    reason: str
    draws_needed: int | None


def judge(evidence: Evidence, tolerance: float = TOLERANCE) -> Regime:
    """Return the regime that the evidence supports.

    Args:
        evidence: measurements of one size or one run.
        tolerance: largest gap of recovery that is equivalent to 0, in (0, 1).

    Raises:
        ValueError: `tolerance` is not in (0, 1).

    Example:
        >>> train, test, gap = Interval(0.99, 0.98, 1.0), Interval(0.1, 0.08, 0.12), Interval(0.89, 0.87, 0.91)
        >>> judge(Evidence(train, test, gap, 0.05, nelbo=4.0, unigram_entropy=3.0, falling=False, draws=1000)).name
        'memorizing'
    """
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"`tolerance` must be in (0, 1), got {tolerance}.")
    name, reason, needed = _judge(evidence, tolerance)
    return Regime(name, (NOT_AT_ITS_END,) if evidence.falling else (), reason, needed)


def _judge(evidence: Evidence, tolerance: float) -> tuple[str, str, int | None]:
    """Return name, reason and the draws needed."""
    train, test, gap = evidence.train, evidence.test, evidence.gap
    if train is None or test is None:
        missing = " and ".join(name for name, side in (("train", train), ("test", test)) if side is None)
        return UNDETERMINED, f"Recovery of {missing} rows was not measured.", None
    sides = f"Recovery is {train.value:.3f} on train rows and {test.value:.3f} on test rows"
    if gap is None or not _known(gap):
        return UNDETERMINED, f"{sides}; the gap has no interval.", None
    difference = f"the gap {_spelled(gap, -tolerance, tolerance)}"
    if gap.low > tolerance:
        above = f"{difference} lies wholly above the tolerance {tolerance:g}"
        if train.value >= RECALLED:
            recalled = f"train recovery reaches {RECALLED:g}"
            return MEMORIZING, f"{sides}; {above}, and {recalled}.", None
        return (
            IN_TRANSITION,
            f"{sides}; {above}, and train recovery {_apart(train.value, RECALLED)} is below 0.95.",
            None,
        )
    if unlearned := _unlearned(evidence, test):
        return NOT_LEARNED, f"{sides}; {unlearned}.", None
    if gap.high < -tolerance:
        return UNDETERMINED, f"{sides}; {difference} lies wholly below {-tolerance:g}: no regime explains that.", None
    equal = equivalence(gap, tolerance, evidence.draws)
    if not equal.equivalent:
        needed = equal.draws_needed
        enough = f"; about {needed:,} draws for each split would decide" if needed else ""
        return (
            UNDETERMINED,
            f"{sides}; {difference} is neither wholly inside nor wholly above the tolerance {tolerance:g}{enough}.",
            needed,
        )
    inside = f"{difference} lies wholly inside the tolerance {tolerance:g}"
    if evidence.coincidence is None or math.isnan(evidence.coincidence):
        return UNDETERMINED, f"{sides}; {inside}, but the coincidence level was not measured.", None
    if not _known(test):
        return UNDETERMINED, f"{sides}; {inside}, but test recovery has no interval.", None
    return (
        GENERALIZING,
        f"{sides}; {inside}, and test recovery ({_apart(test.low, evidence.coincidence)} at least) lies above the "
        f"coincidence level {_apart(evidence.coincidence, test.low)}.",
        None,
    )


def _unlearned(evidence: Evidence, test: Interval) -> str:
    """Return why nothing has been learned, as the end of a sentence; "" if the evidence does not say so."""
    level = evidence.coincidence
    if level is not None and _known(test) and test.low <= level:
        where = "includes" if test.high >= level else "lies below"
        return f"the interval of test recovery {_spelled(test, level)} {where} the coincidence level {level:.3f}"
    nelbo, entropy = evidence.nelbo, evidence.unigram_entropy
    if nelbo is not None and entropy is not None and nelbo > entropy - LEARNED:
        return (
            f"the test NELBO of {_apart(nelbo, entropy - LEARNED)} nats is not {LEARNED:g} nats below the unigram "
            f"entropy of {entropy:.3f} nats"
        )
    return ""


def _known(interval: Interval) -> bool:
    return all(map(math.isfinite, interval))


def _spelled(interval: Interval, *limits: float) -> str:
    """Return a value with its interval, with enough digits to show on which side of the limits its ends lie."""
    low, high = (max((_apart(end, limit) for limit in limits), key=len) for end in interval[1:])
    return f"{interval.value:.3f} ({low} to {high})"


def _apart(value: float, limit: float) -> str:
    """Return a number with three digits, or with up to six if they are needed to distinguish it from the limit."""
    digits = next((d for d in range(3, 6) if round(value, d) != round(limit, d)), 6) if value != limit else 3
    return f"{value:.{digits}f}"
