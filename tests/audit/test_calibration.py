import json
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.audit.known import evidence, known, separable
from uddm_lightning.audit.calibration import (
    FEATURES,
    MEMORIZING,
    REGIMES,
    RIDGES,
    fit_calibration,
    load_calibration,
)
from uddm_lightning.core.errors import InputError


def overlapping(seed=0, number=160):
    """Models whose regimes overlap, so that probabilities are not 0 or 1."""
    rng = np.random.default_rng(seed)
    models = []
    for k in range(number):
        context, overconfidence = rng.uniform(0, 1), rng.uniform(0, 1)
        logits = np.array([3 * overconfidence - 4 * context, 1.0, 2 * context - 3 * overconfidence, 4 * context - 3.5])
        regime = REGIMES[rng.choice(4, p=np.exp(logits) / np.exp(logits).sum())]
        models.append(known(regime, context, overconfidence, sweep=f"s{k % 4}", step=k))
    return models


def test_the_fit_is_the_minimum_that_another_optimizer_finds():
    models = overlapping()
    fitted = fit_calibration(models)
    values = np.array([[feature.value(model.evidence) for feature in FEATURES.values()] for model in models])
    z = np.c_[(values - values.mean(0)) / values.std(0)]
    labels = np.array([REGIMES.index(model.regime) for model in models])

    def loss(flat):
        weights, bias = flat[:-4].reshape(4, -1), flat[-4:]
        logits = z @ weights.T + bias
        logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        penalty = fitted.ridge / 2 * (weights**2).sum() + 1e-3 * (bias**2).sum()
        return -logp[np.arange(len(z)), labels].sum() + penalty

    best = minimize(loss, np.zeros(4 * (len(FEATURES) + 1)), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(fitted.weights_KF, best.x[:-4].reshape(4, -1), atol=1e-3)
    np.testing.assert_allclose(fitted.bias_K - fitted.bias_K.mean(), best.x[-4:] - best.x[-4:].mean(), atol=1e-3)
    assert fitted.ridge in RIDGES


def test_probabilities_are_honest_on_other_models_of_the_same_law():
    fitted, others = fit_calibration(overlapping(0, 400)), overlapping(1, 400)
    p = np.array([list(fitted.probabilities(model.evidence).values()) for model in others])
    np.testing.assert_allclose(p.sum(1), 1.0)
    right = p.argmax(1) == [REGIMES.index(model.regime) for model in others]
    assert abs(p.max(1).mean() - right.mean()) < 0.07  # three standard errors of 400 models


def test_a_file_gives_the_same_probabilities(tmp_path):
    fitted = fit_calibration(separable())
    (tmp_path / "c.json").write_text(json.dumps(fitted.to_json()), encoding="utf-8")
    again = load_calibration(tmp_path / "c.json")
    for model in separable():
        assert again.probabilities(model.evidence) == pytest.approx(fitted.probabilities(model.evidence), abs=1e-4)
    assert (again.conditions, again.models, again.bands) == (fitted.conditions, fitted.models, fitted.bands)
    assert again.conditions["vocab_size"] == [27, 27]


def test_a_feature_beyond_the_fitted_range_counts_as_its_end():
    fitted = fit_calibration(separable())
    ends = dict(zip(fitted.names, fitted.high_F, strict=True))
    far, near = evidence(9.0, 0.1), evidence(ends["context"], 0.1)
    assert fitted.probabilities(far) == pytest.approx(fitted.probabilities(near))


def test_a_model_that_repeats_one_row_is_overconfident():
    stored = evidence(0.0, 0.0, nll_spliced=float("nan"), entropy_spliced=float("nan"))
    assert FEATURES["overconfidence"].value(stored) == 1.0
    found = fit_calibration(separable()).probabilities(stored)
    assert max(found, key=found.get) == MEMORIZING


def test_models_without_a_regime_are_left_out():
    models = separable()
    alone = fit_calibration(models)
    more = fit_calibration([*models, known("undetermined", 0.2, 0.9)])
    np.testing.assert_array_equal(alone.weights_KF, more.weights_KF)


def test_too_few_models_of_a_regime_are_refused_by_number():
    models = [model for model in separable(4) if model.regime != MEMORIZING or model.step < 2]
    with pytest.raises(InputError, match="at least 3 models of each regime; the sweeps hold 2 memorizing"):
        fit_calibration(models)


@dataclass
class Damage:
    name: str
    content: str


@pytest.mark.parametrize(
    "damage",
    [
        Damage("no JSON", "{"),
        Damage("a list", "[]"),
        Damage("another format", '{"format": 0, "times": []}'),
        Damage("no features", '{"format": 1, "times": [0.05, 0.1, 0.25, 0.5, 1.0]}'),
    ],
    ids=lambda damage: damage.name,
)
def test_a_damaged_file_gives_one_message(tmp_path, damage):
    (tmp_path / "c.json").write_text(damage.content, encoding="utf-8")
    with pytest.raises(InputError, match="is not a calibration of this version"):
        load_calibration(tmp_path / "c.json")


def test_an_unknown_feature_is_named(tmp_path):
    content = fit_calibration(separable()).to_json()
    content["features"]["mood"] = content["features"].pop("context")
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="mood"):
        load_calibration(tmp_path / "c.json")
