"""The verdict on a model: its most probable regime, and the evidence in words.

The verdict rests on own samples alone. A text never changes it, because low entropy on a text has two causes: the model
has stored it, or the model is certain also where it is wrong.
"""

import math
from typing import NamedTuple

from uddm_lightning.audit.calibration import (
    FEATURES,
    GENERALIZING,
    IN_TRANSITION,
    MEMORIZING,
    UNDETERMINED,
    Calibration,
)
from uddm_lightning.audit.known_models import KnownModel
from uddm_lightning.audit.own_samples import NEAR, ORDER, VANISHING, Evidence
from uddm_lightning.runs.run import Run

ENOUGH = 0.5  # least probability of a regime that is named
GUESS = 0.6  # probability below which a named regime is called a guess
ENOUGH_OUTSIDE = 0.8  # the same for a model outside of the conditions of the calibration
FAR = 1.0  # distance of a feature from the fitted range, in standard deviations, that leaves a model undetermined
FACTOR = 2  # by which a vocabulary, a row or a network may lie outside of the fitted range
FEWEST_SAMPLES = 64
PLACES = {MEMORIZING: 0.0, IN_TRANSITION: 0.5, GENERALIZING: 1.0}  # on the scale


class Facts(NamedTuple):
    """What a verdict depends on besides the evidence.

    Attributes:
        vocab_size: V.
        length: L.
        parameters: number of trainable parameters.
        process: class of the noise process.
    """

    vocab_size: int
    length: int
    parameters: int
    process: str


class Verdict(NamedTuple):
    """A verdict.

    Attributes:
        name: "memorizing", "in transition", "generalizing", "not learned yet" or "undetermined".
        probability: of the most probable regime, in [0, 1].
        most_probable: that regime.
        probabilities: of all regimes.
        outside: a sentence for each condition of the calibration that the model does not meet.
        position: place on a scale from 0 (memorizing) to 1 (generalizing); None if the model has probably not learned.
    """

    name: str
    probability: float
    most_probable: str
    probabilities: dict[str, float]
    outside: tuple[str, ...]
    position: float | None


def facts_of(run: Run) -> Facts:
    """Return the facts of a model."""
    task = run.model.task
    return Facts(task.process.vocab_size, run.model.length, task.parameter_count, type(task.process).__name__)


def facts_of_known(model: KnownModel) -> Facts:
    """Return the facts of a known model."""
    return Facts(model.vocab_size, model.length, model.parameters, model.process)


def judge_evidence(evidence: Evidence, calibration: Calibration, facts: Facts) -> Verdict:
    """Return the verdict.

    The most probable regime is named if its probability is at least 0.5, or 0.8 for a model outside of the conditions
    of the calibration. A model far outside of the range of the fitted features, or with fewer than 64 samples, is
    undetermined.

    Args:
        evidence: from own samples.
        calibration: probabilities of the regimes.
        facts: to compare with its conditions.
    """
    probabilities = calibration.probabilities(evidence)
    best = max(probabilities, key=lambda name: probabilities[name])
    outside = _outside(evidence, calibration, facts)
    features_F = calibration.features(evidence)
    beyond_F = [
        max(low - value, value - high) / scale
        for value, low, high, scale in zip(
            features_F, calibration.low_F, calibration.high_F, calibration.scale_F, strict=True
        )
    ]
    enough = ENOUGH_OUTSIDE if outside else ENOUGH
    named = probabilities[best] >= enough and max(beyond_F) <= FAR and evidence.samples >= FEWEST_SAMPLES
    learned = {name: p for name, p in probabilities.items() if name in PLACES}
    total = sum(learned.values())
    position = sum(PLACES[name] * p for name, p in learned.items()) / total if total >= ENOUGH else None
    return Verdict(best if named else UNDETERMINED, probabilities[best], best, probabilities, outside, position)


def _outside(evidence: Evidence, calibration: Calibration, facts: Facts) -> tuple[str, ...]:
    conditions, found = calibration.conditions, []
    units = {"vocab_size": "ids in the vocabulary", "length": "tokens in a row", "parameters": "parameters"}
    for name, unit in units.items():
        low, high = conditions[name]
        value = getattr(facts, name)
        if not low / FACTOR <= value <= high * FACTOR:
            found.append(f"it has {value:,} {unit}, models of the calibration have {low:,} to {high:,}")
    if facts.process not in conditions["processes"]:
        found.append(f"its noise is {facts.process}, the calibration holds for {', '.join(conditions['processes'])}")
    if evidence.samples < FEWEST_SAMPLES:
        found.append(f"only {evidence.samples} samples were drawn, at least {FEWEST_SAMPLES} are needed")
    for name, value, low, high in zip(
        calibration.names,
        calibration.features(evidence).tolist(),
        calibration.low_F.tolist(),
        calibration.high_F.tolist(),
        strict=True,
    ):
        slack = 0.05 * (high - low)
        if not low - slack <= value <= high + slack:
            found.append(f"its {name} is {value:.2f}, fitted models have {low:.2f} to {high:.2f}")
    return tuple(found)


def verdict_lines(verdict: Verdict, evidence: Evidence) -> list[str]:
    """Return the verdict and its evidence as sentences."""
    others = ", ".join(f"{name} {p:.2f}" for name, p in verdict.probabilities.items() if name != verdict.most_probable)
    if verdict.name == UNDETERMINED:
        first = f"verdict: undetermined; the most probable regime is {verdict.most_probable}"
    else:
        first = f"verdict: {verdict.name}"
    lines = [f"{first}, probability {verdict.probability:.2f} ({others})", *caution_lines(verdict)]
    if verdict.outside:
        lines.append(
            f"outside of the calibration: {'; '.join(verdict.outside)}. The probability is not calibrated there"
        )
    return [*lines, *evidence_lines(evidence)]


def caution_lines(verdict: Verdict) -> list[str]:
    """Return a sentence about a named regime that is hardly more probable than all others together; else nothing."""
    if verdict.name == UNDETERMINED or verdict.probability >= GUESS:
        return []
    return [f"this verdict is a guess: its probability is below {GUESS:g}"]


def evidence_lines(evidence: Evidence) -> list[str]:
    """Return the evidence as sentences."""
    one = evidence
    return [
        f"entropy on {one.samples} own samples: {one.entropy:.3f} nats per token. Scale: {one.unigram_entropy:.3f} for "
        f"the token frequencies of the samples, {one.ngram_entropy:.3f} for a {ORDER}-gram model of other samples, "
        f"{one.largest_entropy:.3f} for ln V",
        f"entropy vanishes (below {VANISHING:.0%} of ln V) at {one.vanishing:.1%} of the tokens of own samples",
        f"samples that repeat another sample: {one.duplicates:.1%} exactly, {one.near_duplicates:.1%} up to {NEAR:.0%} "
        "of the positions" + (f", with an entropy of {one.entropy_near_duplicates:.3f}" if one.near_duplicates else ""),
        f"entropy on shuffled samples: {one.entropy_shuffled:.3f}; on random tokens: {one.entropy_random:.3f}",
        *_spliced(one),
        f"own-token leak: {one.leak:.3f} (0 for exact leave-one-out predictions)",
    ]


def _spliced(evidence: Evidence) -> list[str]:
    value = FEATURES["overconfidence"].value(evidence)
    if math.isnan(evidence.nll_spliced):
        return ["the samples that were joined are near-duplicates, so no row joins two different ones"]
    excess = "as certain as they are right" if value > -0.15 else "less certain than they are right"
    meaning = excess if value < 0.15 else "too certain" if value < 0.6 else "certain and wrong"
    return [
        f"on rows that join halves of two samples, entropy is {evidence.entropy_spliced:.3f} and the NLL of the tokens "
        f"{evidence.nll_spliced:.3f}: the predictions there are {meaning}"
    ]


class TextEvidence(NamedTuple):
    """Measurements on a text that the user gives.

    Attributes:
        entropy: at the reference t, in nats per token.
        recovery: share of corrupted tokens that the chain restores there, in [0, 1].
        ratio: entropy over that of own samples.
        change: share of clean tokens that the chain changes.
    """

    entropy: float
    recovery: float
    ratio: float
    change: float


def text_lines(text: TextEvidence, verdict: Verdict) -> list[str]:
    """Return the measurements on a text as sentences. They do not change the verdict."""
    lines = [
        f"the text: entropy {text.entropy:.3f} nats per token, {text.ratio:.2g} times that of own samples; recovery "
        f"{text.recovery:.3f}, and {text.change:.3f} of the clean tokens are changed"
    ]
    if verdict.most_probable in (MEMORIZING, IN_TRANSITION):
        stored = text.recovery >= 0.95 and text.ratio < 3
        meaning = (
            "it is restored as stored rows are"
            if stored
            else "it is not restored as stored rows are; low entropy would not show that it is stored"
        )
        lines.append(f"of the text: {meaning}")
    return lines
