"""The regime of a model by the entropy of its predictions, by rules parallel to those of recovery (`regimes`).

With h the entropy on train rows and g the interval of the entropy on test rows minus that on train rows, both at the
reference t, and a tolerance of 0.05 nats, the first rule that holds decides:

1. memorizing: h is at most 0.1 nats, and g lies wholly above the tolerance;
2. in transition: g lies wholly above the tolerance;
3. not learned yet: h, or the test NELBO if it was measured, is above the unigram entropy minus 0.1 nats;
4. generalizing: g lies wholly inside (-tolerance, tolerance);
5. undetermined: none of these.
"""

from uddm_lightning.results.reference import TOLERANCE_NELBO
from uddm_lightning.stats.intervals import Interval
from uddm_lightning.transition.regimes import (
    GENERALIZING,
    IN_TRANSITION,
    LEARNED,
    MEMORIZING,
    NOT_LEARNED,
    UNDETERMINED,
)

VANISHED = 0.1  # nats of entropy on train rows that a memorizing model has at most


def entropy_regime(
    train: Interval | None,
    gap: Interval | None,
    unigram: float | None,
    nelbo: float | None = None,
    tolerance: float = TOLERANCE_NELBO,
) -> str:
    """Return the regime by entropy, one of `regimes.REGIMES`.

    Args:
        train: entropy on train rows, in nats per token; None if it was not measured.
        gap: entropy on test rows minus that on train rows.
        unigram: entropy of the pool's token frequencies, in nats.
        nelbo: NELBO on test rows, in nats per token; None if it was not measured.
        tolerance: largest gap that is equivalent to 0, in nats.

    Example:
        >>> entropy_regime(Interval(0.01, 0.0, 0.02), Interval(0.7, 0.6, 0.8), unigram=2.84)
        'memorizing'
    """
    if train is None or gap is None:
        return UNDETERMINED
    if gap.low > tolerance:
        return MEMORIZING if train.value <= VANISHED else IN_TRANSITION
    if unigram is not None and max(train.value, nelbo or 0.0) > unigram - LEARNED:
        return NOT_LEARNED
    return GENERALIZING if -tolerance < gap.low and gap.high < tolerance else UNDETERMINED
