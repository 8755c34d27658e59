import re

import pytest

from tests.audit.known import CONTEXT, FACTS, OVERCONFIDENCE, evidence, known
from uddm_lightning.audit.calibration import GENERALIZING, IN_TRANSITION, MEMORIZING, NOT_LEARNED, REGIMES
from uddm_lightning.audit.verdict import (
    TextEvidence,
    caution_lines,
    facts_of_known,
    judge_evidence,
    text_lines,
    verdict_lines,
)


@pytest.mark.parametrize("regime", REGIMES)
def test_each_regime_is_named(calibration, regime):
    found = judge_evidence(evidence(CONTEXT[regime] + 0.02, OVERCONFIDENCE[regime] + 0.02), calibration, FACTS)
    assert (found.name, found.most_probable, found.outside) == (regime, regime, ())
    assert found.probability == max(found.probabilities.values()) > 0.5
    assert facts_of_known(known()) == FACTS


def test_the_place_on_the_scale_rises_from_memorizing_to_generalizing(calibration):
    places = [
        judge_evidence(evidence(CONTEXT[one] + 0.02, OVERCONFIDENCE[one] + 0.02), calibration, FACTS).position
        for one in (MEMORIZING, IN_TRANSITION, GENERALIZING)
    ]
    assert places == sorted(places)
    assert 0.0 <= places[0] < 0.2 < places[1] < 0.8 < places[2] <= 1.0
    assert judge_evidence(evidence(0.99, 0.02), calibration, FACTS).position is None  # not learned yet


def test_between_two_regimes_nothing_is_named(calibration):
    halves = [0.5 * (table[IN_TRANSITION] + table[GENERALIZING]) + 0.02 for table in (CONTEXT, OVERCONFIDENCE)]
    found = min(
        (
            judge_evidence(evidence(halves[0] + k / 100, halves[1] - k / 100), calibration, FACTS)
            for k in range(-20, 21)
        ),
        key=lambda one: one.probability,
    )
    assert found.probability < 0.8
    outside = judge_evidence(evidence(*halves), calibration, FACTS._replace(vocab_size=50_000))
    assert outside.name == "undetermined"  # outside of the conditions 0.8 is needed
    assert outside.outside == ("it has 50,000 ids in the vocabulary, models of the calibration have 27 to 27",)


@pytest.mark.parametrize(("probability", "cautions"), [(0.59, 1), (0.6, 0), (0.95, 0)])
def test_a_named_regime_that_is_hardly_likely_is_called_a_guess(calibration, probability, cautions):
    one = evidence(0.07, 0.92)
    found = judge_evidence(one, calibration, FACTS)._replace(probability=probability)
    assert len(caution_lines(found)) == cautions
    assert sum(
        "this verdict is a guess: its probability is below 0.6" in line for line in verdict_lines(found, one)
    ) == (cautions)
    assert not caution_lines(found._replace(name="undetermined"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"length": 128}, "it has 128 tokens in a row, models of the calibration have 32 to 32"),
        (
            {"parameters": 7_000_000_000},
            "it has 7,000,000,000 parameters, models of the calibration have 200,000 to 200,000",
        ),
        ({"process": "AbsorbingProcess"}, "its noise is AbsorbingProcess, the calibration holds for UniformProcess"),
    ],
)
def test_each_condition_is_compared(calibration, change, sentence):
    found = judge_evidence(evidence(0.07, 0.92), calibration, FACTS._replace(**change))
    assert found.outside == (sentence,)
    assert "The probability is not calibrated there" in verdict_lines(found, evidence(0.07, 0.92))[1]


def test_far_from_every_fitted_model_nothing_is_named(calibration):
    far = judge_evidence(evidence(0.07, 3.0), calibration, FACTS)
    assert far.name == "undetermined"
    assert "its overconfidence is 3.00" in far.outside[0]


def test_few_samples_are_said(calibration):
    few = judge_evidence(evidence(0.07, 0.92, samples=16), calibration, FACTS)
    assert few.name == "undetermined"
    assert few.outside == ("only 16 samples were drawn, at least 64 are needed",)


def test_sentences_give_the_evidence(calibration):
    one = evidence(0.07, 0.92, near_duplicates=0.5, duplicates=0.25, entropy_near_duplicates=0.01)
    lines = verdict_lines(judge_evidence(one, calibration, FACTS), one)
    assert re.match(r"verdict: memorizing, probability (0\.9\d|1\.00) \(", lines[0])
    text = "\n".join(lines)
    for part in (
        "entropy on 256 own samples: 0.140 nats per token",
        "2.000 for the token frequencies",
        "1.800 for a 5-gram model",
        "3.000 for ln V",
        "at 80.4% of the tokens",
        "25.0% exactly, 50.0% up to 10% of the positions, with an entropy of 0.010",
        "shuffled samples: 1.500; on random tokens: 1.750",
        "certain and wrong",
        "own-token leak: 0.050",
    ):
        assert part in text
    alone = evidence(nll_spliced=float("nan"))
    assert any("no row joins two" in line for line in verdict_lines(judge_evidence(alone, calibration, FACTS), alone))


@pytest.mark.parametrize(
    ("overconfidence", "words"),
    [(-0.3, "less certain than"), (0.1, "as certain as"), (0.3, "too certain"), (0.7, "certain and wrong")],
)
def test_predictions_on_joined_halves_are_named(calibration, overconfidence, words):
    one = evidence(0.5, overconfidence)
    assert f"predictions there are {words}" in "\n".join(verdict_lines(judge_evidence(one, calibration, FACTS), one))


def test_a_text_is_read_with_the_verdict(calibration):
    memory = judge_evidence(evidence(0.07, 0.92), calibration, FACTS)
    unseen = text_lines(TextEvidence(entropy=0.64, recovery=0.1, ratio=20.0, change=0.3), memory)
    assert "20 times that of own samples" in unseen[0]
    assert "low entropy would not show that it is stored" in unseen[1]
    stored = text_lines(TextEvidence(entropy=0.03, recovery=0.99, ratio=1.0, change=0.0), memory)
    assert "it is restored as stored rows are" in stored[1]
    language = judge_evidence(evidence(0.72, 0.12), calibration, FACTS)
    assert len(text_lines(TextEvidence(1.8, 0.2, 1.0, 0.1), language)) == 1
    assert NOT_LEARNED in language.probabilities
