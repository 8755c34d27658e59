import math

import pytest

from tests.audit.known import CONTEXT, OVERCONFIDENCE, known, separable
from uddm_lightning.audit.calibration import GENERALIZING, MEMORIZING, REGIMES
from uddm_lightning.audit.prediction_scores import score_lines, score_predictions


def test_scores_are_those_of_plain_loops(calibration):
    models = [*separable(4), known(MEMORIZING, 0.72, 0.1), known(GENERALIZING, 0.3, 0.6), known("undetermined")]
    scores = score_predictions(calibration, models)
    judged = models[:-1]
    probabilities = [calibration.probabilities(model.evidence) for model in judged]
    brier = [
        sum((p[regime] - (regime == model.regime)) ** 2 for regime in REGIMES) / 2
        for p, model in zip(probabilities, judged, strict=True)
    ]
    assert scores.brier == pytest.approx(sum(brier) / len(brier))
    assert scores.models == {regime: 4 + (regime in (MEMORIZING, GENERALIZING)) for regime in REGIMES}
    assert scores.memorizing_as_generalizing == 1
    assert scores.right == pytest.approx(16 / 18)
    mine = [p[MEMORIZING] for p, model in zip(probabilities, judged, strict=True) if model.regime == MEMORIZING]
    other = [p[MEMORIZING] for p, model in zip(probabilities, judged, strict=True) if model.regime != MEMORIZING]
    pairs = [(a > b) + (a == b) / 2 for a in mine for b in other]
    assert scores.auc[MEMORIZING] == pytest.approx(sum(pairs) / len(pairs))
    assert sum(one.models for one in scores.reliability) == 18
    assert sum(scores.confusion.values()) == 18


def test_bins_hold_the_models_of_their_range(calibration):
    sure = known(MEMORIZING, CONTEXT[MEMORIZING], OVERCONFIDENCE[MEMORIZING])
    scores = score_predictions(calibration, [sure])
    top = max(calibration.probabilities(sure.evidence).values())
    [mine] = [one for one in scores.reliability if one.models]
    assert mine.low < top <= mine.high
    assert (mine.mean_probability, mine.share_right) == (pytest.approx(top), 1.0)
    assert math.isnan(scores.auc_memorizing)  # there is no generalizing model


def test_lines_name_the_confusions(calibration):
    text = "\n".join(score_lines(score_predictions(calibration, [*separable(4), known(MEMORIZING, 0.72, 0.1)])))
    assert "judged on 17 models: 5 memorizing, 4 in transition" in text
    assert "memorizing models called generalizing: 1" in text
    assert "  memorizing: 1 generalizing, 4 memorizing" in text
