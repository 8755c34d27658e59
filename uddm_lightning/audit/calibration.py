"""Calibration of verdicts: probabilities of the regimes as a function of evidence from own samples.

With features z (standardized, limited to the range of the models that were fitted) the probability of regime k is
  p_k = exp(b_k + w_k z) / sum_j exp(b_j + w_j z),
a multinomial logistic regression with a ridge penalty on w. The penalty is chosen by cross-validation over sweeps.

Shapes: M models, F features, K regimes.
"""

import json
import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from uddm_lightning.audit.known_models import KnownModel
from uddm_lightning.audit.own_samples import TIMES, Evidence
from uddm_lightning.core.errors import InputError

FLOAT = NDArray[np.float64]
MEMORIZING, IN_TRANSITION, GENERALIZING = "memorizing", "in transition", "generalizing"
NOT_LEARNED, UNDETERMINED = "not learned yet", "undetermined"
REGIMES = (MEMORIZING, IN_TRANSITION, GENERALIZING, NOT_LEARNED)
RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)  # penalties to choose from
FEWEST = 3  # models of each regime
BAND = (0.1, 0.9)  # quantiles of the bands of entropy against t
FORMAT = 1
DEFAULT = "default_calibration.json"


def _context(evidence: Evidence) -> float:
    return evidence.entropy / max(evidence.unigram_entropy, 1e-9)


def _overconfidence(evidence: Evidence) -> float:
    if math.isnan(evidence.nll_spliced):  # all samples are near-duplicates of one row
        return 1.0
    return 1.0 - evidence.entropy_spliced / max(evidence.nll_spliced, 1e-9)


class Feature(NamedTuple):
    """A number that does not depend on the vocabulary.

    Attributes:
        value: function of the evidence.
        meaning: explanation in words.
    """

    value: Callable[[Evidence], float]
    meaning: str


FEATURES = {
    "context": Feature(
        _context, "entropy on own samples over the entropy of their token frequencies: 1 if context is not used"
    ),
    "overconfidence": Feature(
        _overconfidence,
        "1 - entropy / NLL on rows that join halves of two samples: 0 for calibrated predictions, near 1 if "
        "predictions are certain and wrong",
    ),
    "certainty": Feature(
        lambda evidence: evidence.vanishing, "share of the tokens of own samples whose entropy is below 1 % of ln V"
    ),
}


class Calibration(NamedTuple):
    """Fitted probabilities of the regimes.

    Attributes:
        names: of the features, in `FEATURES`.
        mean_F: of the features among the fitted models.
        scale_F: their standard deviations.
        low_F: their smallest values.
        high_F: their largest values.
        weights_KF: for standardized features.
        bias_K: constants.
        ridge: penalty that was chosen.
        bands: for each regime, the `BAND` quantiles of entropy over unigram entropy at each of `TIMES`.
        conditions: ranges of vocabulary, row length and parameters; names of texts, processes and networks.
        models: number of fitted models of each regime.
    """

    names: tuple[str, ...]
    mean_F: FLOAT
    scale_F: FLOAT
    low_F: FLOAT
    high_F: FLOAT
    weights_KF: FLOAT
    bias_K: FLOAT
    ridge: float
    bands: dict[str, list[list[float]]]
    conditions: dict[str, Any]
    models: dict[str, int]

    def features(self, evidence: Evidence) -> FLOAT:
        """Return the features (F,) of a model."""
        return np.array([FEATURES[name].value(evidence) for name in self.names])

    def probabilities(self, evidence: Evidence) -> dict[str, float]:
        """Return the probability of each regime. Features outside of the fitted range are moved to its end."""
        features_F = np.clip(self.features(evidence), self.low_F, self.high_F)
        standard_1F = ((features_F - self.mean_F) / self.scale_F)[None]
        p_K = _softmax(standard_1F @ self.weights_KF.T + self.bias_K)[0]
        return dict(zip(REGIMES, p_K.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the content of a calibration file."""
        return {
            "format": FORMAT,
            "features": {
                name: {"mean": mean, "scale": scale, "low": low, "high": high, "meaning": FEATURES[name].meaning}
                for name, mean, scale, low, high in zip(
                    self.names,
                    *(part_F.round(6).tolist() for part_F in (self.mean_F, self.scale_F, self.low_F, self.high_F)),
                    strict=True,
                )
            },
            "regimes": {
                regime: {"bias": bias, "weights": dict(zip(self.names, weights, strict=True))}
                for regime, bias, weights in zip(
                    REGIMES, self.bias_K.round(6).tolist(), self.weights_KF.round(6).tolist(), strict=True
                )
            },
            "ridge": self.ridge,
            "conditions": self.conditions,
            "models": self.models,
            "times": list(TIMES),
            "bands": self.bands,
        }


def fit_calibration(models: Sequence[KnownModel]) -> Calibration:
    """Fit the probabilities of the regimes on models whose regime is known.

    Models whose regime is undetermined are left out.

    Args:
        models: evidence and regimes.

    Raises:
        InputError: a regime has fewer than `FEWEST` models.
    """
    models = [model for model in models if model.regime in REGIMES]
    numbers = {regime: sum(model.regime == regime for model in models) for regime in REGIMES}
    if missing := [f"{number} {regime}" for regime, number in numbers.items() if number < FEWEST]:
        raise InputError(
            f"A calibration needs at least {FEWEST} models of each regime; the sweeps hold {', '.join(missing)}. Add "
            "sizes, or checkpoints at other steps."
        )
    names = tuple(FEATURES)
    features_MF = np.array([[FEATURES[name].value(model.evidence) for name in names] for model in models])
    mean_F, scale_F = features_MF.mean(0), features_MF.std(0)
    scale_F = np.where(scale_F > 0.0, scale_F, 1.0)  # a feature that is the same for all models
    standard_MF = (features_MF - mean_F) / scale_F
    labels_M = np.array([REGIMES.index(model.regime) for model in models])
    groups_M = np.unique([model.sweep for model in models], return_inverse=True)[1]
    ridge = min(RIDGES, key=lambda one: _cross_validated(standard_MF, labels_M, groups_M, one))
    weights_KF, bias_K = _fit(standard_MF, labels_M, ridge)
    return Calibration(
        names,
        mean_F,
        scale_F,
        features_MF.min(0),
        features_MF.max(0),
        weights_KF,
        bias_K,
        ridge,
        {regime: _band([model.evidence for model in models if model.regime == regime]) for regime in REGIMES},
        _conditions(models),
        numbers,
    )


def load_calibration(path: Path | None = None) -> Calibration:
    """Read a calibration file; None reads the shipped one.

    Raises:
        InputError: the file is not a calibration of this version.
    """
    source = files("uddm_lightning.audit") / DEFAULT if path is None else path
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["times"] != list(TIMES):
            raise KeyError("format")
        about = content["features"]
        names, regimes = tuple(about), [content["regimes"][regime] for regime in REGIMES]
        if unknown := [name for name in names if name not in FEATURES]:
            raise KeyError(unknown[0])
        mean_F, scale_F, low_F, high_F = (
            np.array([float(about[name][key]) for name in names]) for key in ("mean", "scale", "low", "high")
        )
        return Calibration(
            names,
            mean_F,
            scale_F,
            low_F,
            high_F,
            np.array([[float(regime["weights"][name]) for name in names] for regime in regimes]),
            np.array([float(regime["bias"]) for regime in regimes]),
            float(content["ridge"]),
            content["bands"],
            content["conditions"],
            content["models"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it has no key {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"`{source}` is not a calibration of this version ({why}). Make one with `uddm calibrate SWEEP... --out "
            "FILE`, or leave `--calibration` out for the shipped one."
        ) from error


def _fit(standard_MF: FLOAT, labels_M: NDArray[np.int64], ridge: float) -> tuple[FLOAT, FLOAT]:
    """Minimize the sum of -ln p of the labels plus ridge / 2 |w|^2; return weights (K, F) and constants (K,)."""
    inputs_MF, labels = torch.from_numpy(standard_MF), torch.from_numpy(labels_M)
    weights_KF = torch.zeros(len(REGIMES), inputs_MF.shape[1], dtype=torch.float64, requires_grad=True)
    bias_K = torch.zeros(len(REGIMES), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights_KF, bias_K], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        nll = torch.nn.functional.cross_entropy(inputs_MF @ weights_KF.T + bias_K, labels, reduction="sum")
        total = nll + ridge / 2 * weights_KF.square().sum() + 1e-3 * bias_K.square().sum()
        total.backward()  # type: ignore[no-untyped-call]  # PyTorch has no types there
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # PyTorch has no types there
    bias_K = bias_K.detach() - bias_K.detach().mean()
    return weights_KF.detach().numpy(), bias_K.numpy()


def _cross_validated(
    standard_MF: FLOAT, labels_M: NDArray[np.int64], groups_M: NDArray[np.int64], ridge: float
) -> float:
    """Return the sum of -ln p of the labels of each group, predicted from the other groups."""
    if len(np.unique(groups_M)) < 2:
        return ridge  # nothing to compare: the weakest penalty
    total = 0.0
    for group in np.unique(groups_M):
        here_M = groups_M == group
        weights_KF, bias_K = _fit(standard_MF[~here_M], labels_M[~here_M], ridge)
        p_MK = _softmax(standard_MF[here_M] @ weights_KF.T + bias_K)
        total -= float(np.log(p_MK[np.arange(len(p_MK)), labels_M[here_M]]).sum())
    return total


def _softmax(logits_MK: FLOAT) -> FLOAT:
    weights_MK = np.exp(logits_MK - logits_MK.max(1, keepdims=True))
    p_MK: FLOAT = weights_MK / weights_MK.sum(1, keepdims=True)
    return p_MK


def _band(evidence: Sequence[Evidence]) -> list[list[float]]:
    curves_MT = np.array([one.curve for one in evidence]) / np.array([[one.unigram_entropy] for one in evidence])
    return [[round(value, 4) for value in pair] for pair in np.quantile(curves_MT, BAND, axis=0).T.tolist()]


def _conditions(models: Sequence[KnownModel]) -> dict[str, Any]:
    def ends(values: list[int]) -> list[int]:
        return [min(values), max(values)]

    return {
        "vocab_size": ends([model.vocab_size for model in models]),
        "length": ends([model.length for model in models]),
        "parameters": ends([model.parameters for model in models]),
        "train_size": ends([model.train_size for model in models]),
        "samples": ends([model.evidence.samples for model in models]),
        "processes": sorted({model.process for model in models}),
        "backbones": sorted({model.backbone for model in models}),
        "texts": sorted({model.text for model in models}),
    }
