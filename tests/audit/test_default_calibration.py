"""The shipped calibration: made from the committed table, and judged on models of other sweeps.

`calibration/make.sh` trains the models. `test_calibration_bar.py` makes the tables again.
"""

import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from uddm_lightning import audit
from uddm_lightning.audit.calibration import (
    GENERALIZING,
    MEMORIZING,
    NOT_LEARNED,
    REGIMES,
    _fit,
    _softmax,
    fit_calibration,
    load_calibration,
)
from uddm_lightning.audit.known_models import read_known_models
from uddm_lightning.audit.prediction_scores import score_predictions
from uddm_lightning.audit.verdict import ENOUGH, GUESS, facts_of_known, judge_evidence

HERE = Path(__file__).parent / "calibration"
FAR = 4  # factor between a size and the transition from which on a model is easy


@pytest.fixture(scope="module")
def held_out():
    return read_known_models(HERE / "held_out.csv")


def transition_size(models):
    """Size at which the gap of recovery is half of that at the smallest size, at the last step; by interpolation."""
    last = max(model.step for model in models)
    gaps = sorted((m.train_size, m.train_recovery - m.test_recovery) for m in models if m.step == last)
    half = gaps[0][1] / 2
    for (small, above), (large, below) in pairwise(gaps):
        if below < half <= above:
            share = (above - half) / (above - below)
            return math.exp(math.log(small) + share * (math.log(large) - math.log(small)))
    return None


def far_from_the_transition(models):
    """Models whose regime is known and whose size is far from the transition, and all that have not learned."""
    conditions = defaultdict(list)
    for model in models:
        conditions[model.sweep.removesuffix("-small").removesuffix("-large")].append(model)
    far = []
    for mine in conditions.values():
        size = transition_size(mine)
        for model in mine:
            n = model.train_size
            easy = size is not None and (n * FAR <= size or n >= size * FAR)
            if model.regime == NOT_LEARNED or (model.regime in REGIMES and easy):
                far.append(model)
    return far


def was_judged_once(model):
    """Whether a model was trained after every choice of the calibration had been made."""
    kind = model.sweep.removesuffix("-small").removesuffix("-large")
    return kind in ("held-code", "held-half") or (kind == "held-twelve" and model.train_size != 2000)


def verdict(calibration, model):
    return judge_evidence(model.evidence, calibration, facts_of_known(model)).name


def check_bars(calibration, models, number, share=0.9):
    """What a calibration must reach on unseen models; `share`: of right verdicts far from the transition."""
    far = far_from_the_transition(models)  # the gaps of all models tell where the transition is
    models = [model for model in models if model.regime in REGIMES]
    assert len(models) >= number
    right = [verdict(calibration, model) == model.regime for model in far]
    assert len(far) >= number / 2
    assert np.mean(right) >= share
    for model in models:
        found = verdict(calibration, model)
        assert not (model.regime == MEMORIZING and found == GENERALIZING), model
    learned_nothing = [model for model in models if model.regime == NOT_LEARNED]
    assert np.mean([verdict(calibration, model) == NOT_LEARNED for model in learned_nothing]) >= 0.9
    scores = score_predictions(calibration, models)
    assert scores.auc_memorizing >= 0.95
    assert min(scores.auc.values()) >= 0.95
    assert scores.brier <= 0.1
    assert sum(one.models > 0 for one in scores.reliability) == 3


def test_the_shipped_file_is_the_fit_on_the_committed_table():
    shipped, again = load_calibration(), fit_calibration(read_known_models(HERE / "fit.csv"))
    np.testing.assert_allclose(shipped.weights_KF, again.weights_KF, atol=1e-3)
    np.testing.assert_allclose(shipped.bias_K, again.bias_K, atol=1e-3)
    assert (shipped.models, shipped.conditions, shipped.ridge) == (again.models, again.conditions, again.ridge)
    assert shipped.bands == again.bands


def test_no_judged_model_was_fitted(held_out):
    fitted = read_known_models(HERE / "fit.csv")
    assert not {m.sweep for m in fitted} & {m.sweep for m in held_out}
    assert not {str(m.evidence) for m in fitted} & {str(m.evidence) for m in held_out}


def test_the_guide_states_the_scores(held_out):
    scores = score_predictions(load_calibration(), held_out)
    guide = (Path(audit.__file__).parent / "README.md").read_text(encoding="utf-8")
    far = far_from_the_transition(held_out)
    right = np.mean([verdict(load_calibration(), model) == model.regime for model in far])
    assert f"{sum(scores.models.values())} models of other sweeps" in guide
    assert f"{right:.1%} of the {len(far)} models" in guide
    assert f"Brier score {scores.brier:.3f}" in guide
    assert f"AUC of memorizing against generalizing {scores.auc_memorizing:.3f}" in guide
    late = [model for model in far if was_judged_once(model)]
    right = np.mean([verdict(load_calibration(), model) == model.regime for model in late])
    assert f"{right:.1%} of the {len(late)} of them" in guide
    later = score_predictions(load_calibration(), [model for model in held_out if was_judged_once(model)])
    assert f"The other {sum(later.models.values())} models" in guide
    assert f"Brier score {later.brier:.3f}; each AUC {min(later.auc.values()):.3f}" in guide
    for one in scores.reliability:
        assert (
            f"| {one.low:g} to {one.high:g} | {one.models} | {one.mean_probability:.2f} | {one.share_right:.2f} |"
            in guide
        )


def test_the_guide_states_the_cross_validation():
    """Each fitted sweep is left out once; the probability of the most probable regime, and whether it is right."""
    fitted = [model for model in read_known_models(HERE / "fit.csv") if model.regime in REGIMES]
    shipped = load_calibration()
    features_MF = np.array([shipped.features(model.evidence) for model in fitted])
    standard_MF = (features_MF - shipped.mean_F) / shipped.scale_F
    labels_M = np.array([REGIMES.index(model.regime) for model in fitted])
    sweeps_M = np.array([model.sweep for model in fitted])
    p_MK = np.zeros((len(fitted), len(REGIMES)))
    for sweep in np.unique(sweeps_M):
        here_M = sweeps_M == sweep
        weights_KF, bias_K = _fit(standard_MF[~here_M], labels_M[~here_M], shipped.ridge)
        p_MK[here_M] = _softmax(standard_MF[here_M] @ weights_KF.T + bias_K)
    right_M, guide = p_MK.argmax(1) == labels_M, (Path(audit.__file__).parent / "README.md").read_text(encoding="utf-8")
    for low, high in ((0.5, 0.6), (0.6, 0.8), (0.8, 1.0)):
        here_M = (low <= p_MK.max(1)) & (p_MK.max(1) < high)
        assert f"{low:g} to {high:g}: {right_M[here_M].sum()} of {here_M.sum()}" in guide
    guess_M = (p_MK.max(1) >= ENOUGH) & (p_MK.max(1) < GUESS)
    assert f"{right_M[guess_M & (sweeps_M != 'fit-letters-large')].sum()} of the " in guide


def test_the_bars_hold_on_models_that_were_not_fitted(held_out):
    check_bars(load_calibration(), held_out, 60)


def test_evidence_differs_where_one_number_alone_would_be_fooled(held_out):
    """Low entropy on an unseen text is no memorization; entropy on own samples orders the regimes."""
    by_regime = {
        regime: [m.evidence.entropy / m.evidence.unigram_entropy for m in held_out if m.regime == regime]
        for regime in REGIMES
    }
    assert max(by_regime[MEMORIZING]) < min(by_regime[GENERALIZING])
    assert np.median(by_regime[GENERALIZING]) < np.median(by_regime[NOT_LEARNED])
