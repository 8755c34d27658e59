"""The regime of a model, by absolute rules: the same for one run as for a size of a sweep.

With g the interval of the gap (train recovery minus test recovery at the reference t) and the tolerance 0.02, the first
rule that holds decides:

1. memorizing: train recovery is at least 0.95, and g lies wholly above the tolerance;
2. in transition: g lies wholly above the tolerance;
3. not learned yet: the interval of test recovery includes the coincidence level or lies below it, or the test NELBO is
   above the unigram entropy minus 0.1 nats;
4. generalizing: g lies wholly inside (-tolerance, tolerance), and test recovery wholly above coincidence;
5. cannot be told: none of these.

Rules 1 and 2 come first: a model that knows 8 rows by heart restores no other text and has a large test NELBO.
"""

import math
from typing import NamedTuple

from uddm_lightning.results.reference import TOLERANCE
from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.equivalence import equivalence

MEMORIZING, IN_TRANSITION, GENERALIZING = "memorizing", "in transition", "generalizing"
NOT_LEARNED, CANNOT_BE_TOLD = "not learned yet", "cannot be told"
REGIMES = (MEMORIZING, IN_TRANSITION, GENERALIZING, NOT_LEARNED, CANNOT_BE_TOLD)

RECALLED = 0.95  # least train recovery of a memorizing model
LEARNED = 0.1  # nats by which the test NELBO of a model that has learned lies below the unigram entropy, at least
NOT_AT_ITS_END = "training was not at its end"


class Evidence(NamedTuple):
    """What is known of one size, pooled over its seeds, or of one run. None and NaN mean: not measured.

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
    """A judgement.

    Attributes:
        name: one of `REGIMES`.
        qualifiers: what limits it, such as `NOT_AT_ITS_END`. A qualifier never decides.
        reason: one sentence with the numbers that decided.
        draws_needed: about how many draws for each split would tell; None where the number of draws is not at fault.
    """

    name: str
    qualifiers: tuple[str, ...]
    reason: str
    draws_needed: int | None


def judge(evidence: Evidence, tolerance: float = TOLERANCE) -> Regime:
    """Returns the regime that the evidence supports.

    Args:
        evidence: of one size or one run.
        tolerance: largest gap of recovery that counts as none, in (0, 1).

    Raises:
        ValueError: `tolerance` is not in (0, 1).
    """
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"`tolerance` must be in (0, 1), got {tolerance}.")
    name, reason, needed = _judge(evidence, tolerance)
    return Regime(name, (NOT_AT_ITS_END,) if evidence.falling else (), reason, needed)


def _judge(evidence: Evidence, tolerance: float) -> tuple[str, str, int | None]:
    """Name, reason and the draws needed."""
    train, test, gap = evidence.train, evidence.test, evidence.gap
    if train is None or test is None:
        missing = " and ".join(name for name, side in (("train", train), ("test", test)) if side is None)
        return CANNOT_BE_TOLD, f"Recovery of {missing} rows was not measured.", None
    sides = f"Recovery is {train.value:.3f} on train rows and {test.value:.3f} on test rows"
    if gap is None or not _known(gap):
        return CANNOT_BE_TOLD, f"{sides}; the gap has no interval.", None
    told = f"the gap {_spelled(gap, -tolerance, tolerance)}"
    if gap.low > tolerance:
        above = f"{told} lies wholly above the tolerance {tolerance:g}"
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
        return CANNOT_BE_TOLD, f"{sides}; {told} lies wholly below {-tolerance:g}: no regime explains that.", None
    equal = equivalence(gap, tolerance, evidence.draws)
    if not equal.equivalent:
        needed = equal.draws_needed
        enough = f"; about {needed:,} draws for each split would tell" if needed else ""
        return (
            CANNOT_BE_TOLD,
            f"{sides}; {told} is neither wholly inside nor wholly above the tolerance {tolerance:g}{enough}.",
            needed,
        )
    inside = f"{told} lies wholly inside the tolerance {tolerance:g}"
    if evidence.coincidence is None or math.isnan(evidence.coincidence):
        return CANNOT_BE_TOLD, f"{sides}; {inside}, but the coincidence level was not measured.", None
    if not _known(test):
        return CANNOT_BE_TOLD, f"{sides}; {inside}, but test recovery has no interval.", None
    return (
        GENERALIZING,
        f"{sides}; {inside}, and test recovery ({_apart(test.low, evidence.coincidence)} at least) lies above the "
        f"coincidence level {_apart(evidence.coincidence, test.low)}.",
        None,
    )


def _unlearned(evidence: Evidence, test: Interval) -> str:
    """Why nothing has been learned, as the end of a sentence; "" where the evidence does not say so."""
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
    """A value with its interval, in as many digits as show on which side of the limits its ends lie."""
    low, high = (max((_apart(end, limit) for limit in limits), key=len) for end in interval[1:])
    return f"{interval.value:.3f} ({low} to {high})"


def _apart(value: float, limit: float) -> str:
    """A number in three digits, or in as many, up to six, as show that it is not the limit."""
    digits = next((d for d in range(3, 6) if round(value, d) != round(limit, d)), 6) if value != limit else 3
    return f"{value:.{digits}f}"
