"""Scores of a calibration on models that it was not fitted on.

Shapes: M models, K regimes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.audit.calibration import GENERALIZING, MEMORIZING, REGIMES, Calibration
from uddm_lightning.audit.known_models import KnownModel
from uddm_lightning.audit.verdict import facts_of_known, judge_evidence
from uddm_lightning.core.errors import InputError

BINS = (0.0, 0.6, 0.9, 1.0)  # of the probability of the most probable regime


class ReliabilityBin(NamedTuple):
    """Models whose most probable regime has a probability in a range.

    Attributes:
        low: lower end of the range.
        high: upper end.
        models: number of models.
        mean_probability: mean probability of their most probable regime; NaN without models.
        share_right: share of models of which it is the regime.
    """

    low: float
    high: float
    models: int
    mean_probability: float
    share_right: float


class PredictionScores(NamedTuple):
    """Scores of verdicts on known models. Models whose regime is undetermined are left out.

    Attributes:
        models: number of models by regime.
        right: share of models whose verdict is their regime.
        undetermined: share of models with the verdict "undetermined".
        memorizing_as_generalizing: number of memorizing models with the verdict "generalizing".
        brier: mean over models of the sum over regimes of (p_k - [k is the regime])^2, divided by 2: from 0 to 1.
        auc: for each regime, the probability that a model of the regime has a larger probability of it than another.
        auc_memorizing: the same for memorizing against generalizing models.
        reliability: by probability of the most probable regime.
        confusion: number of models by regime and verdict.
    """

    models: dict[str, int]
    right: float
    undetermined: float
    memorizing_as_generalizing: int
    brier: float
    auc: dict[str, float]
    auc_memorizing: float
    reliability: tuple[ReliabilityBin, ...]
    confusion: dict[tuple[str, str], int]


def score_predictions(calibration: Calibration, models: Sequence[KnownModel]) -> PredictionScores:
    """Judge the verdicts of a calibration on models whose regime is known.

    Args:
        calibration: the calibration.
        models: models that it was not fitted on.

    Raises:
        InputError: no model has a known regime.
    """
    number = len(models)
    models = [model for model in models if model.regime in REGIMES]
    if not models:
        raise InputError(
            f"none of the {number} judged models has a known regime. Measure recovery on more rows with "
            "`recovery.num_reference_rows`."
        )
    p_MK = np.array([list(calibration.probabilities(model.evidence).values()) for model in models])
    verdicts = [judge_evidence(model.evidence, calibration, facts_of_known(model)).name for model in models]
    labels_M = np.array([REGIMES.index(model.regime) for model in models])
    truth_MK = np.eye(len(REGIMES))[labels_M]
    confusion: dict[tuple[str, str], int] = {}
    for model, verdict in zip(models, verdicts, strict=True):
        confusion[model.regime, verdict] = confusion.get((model.regime, verdict), 0) + 1
    ends = {regime: REGIMES.index(regime) for regime in (MEMORIZING, GENERALIZING)}
    one_M, other_M = (labels_M == ends[MEMORIZING]), (labels_M == ends[GENERALIZING])
    odds_M = np.log(p_MK[:, ends[MEMORIZING]]) - np.log(p_MK[:, ends[GENERALIZING]])
    return PredictionScores(
        {regime: int((labels_M == index).sum()) for index, regime in enumerate(REGIMES)},
        float(np.mean([model.regime == verdict for model, verdict in zip(models, verdicts, strict=True)])),
        float(np.mean([verdict not in REGIMES for verdict in verdicts])),
        confusion.get((MEMORIZING, GENERALIZING), 0),
        float(((p_MK - truth_MK) ** 2).sum(1).mean() / 2),
        {regime: _auc(p_MK[labels_M == k, k], p_MK[labels_M != k, k]) for k, regime in enumerate(REGIMES)},
        _auc(odds_M[one_M], odds_M[other_M]),
        _reliability(p_MK, labels_M),
        confusion,
    )


def score_lines(scores: PredictionScores) -> list[str]:
    """Return the scores as lines of text."""
    numbers = ", ".join(f"{number} {regime}" for regime, number in scores.models.items())
    lines = [
        f"judged on {sum(scores.models.values())} models: {numbers}",
        f"verdict right: {scores.right:.3f}; undetermined: {scores.undetermined:.3f}; memorizing models called "
        f"generalizing: {scores.memorizing_as_generalizing}",
        f"Brier score: {scores.brier:.3f}; AUC of memorizing against generalizing: {scores.auc_memorizing:.3f}",
        "AUC against all others: " + ", ".join(f"{regime} {value:.3f}" for regime, value in scores.auc.items()),
        "probability of the most probable regime: mean, share right",
    ]
    lines += [
        f"  {one.low:g} to {one.high:g}: {one.mean_probability:.2f}, {one.share_right:.2f} of {one.models} models"
        for one in scores.reliability
    ]
    lines.append("regime: verdicts")
    for regime in REGIMES:
        mine = {verdict: number for (true, verdict), number in scores.confusion.items() if true == regime}
        if mine:
            lines.append(f"  {regime}: " + ", ".join(f"{number} {verdict}" for verdict, number in sorted(mine.items())))
    return lines


def _reliability(p_MK: NDArray[np.float64], labels_M: NDArray[np.int64]) -> tuple[ReliabilityBin, ...]:
    top_M, right_M = p_MK.max(1), p_MK.argmax(1) == labels_M
    bins = []
    for low, high in pairwise(BINS):
        here_M = (top_M > low) & (top_M <= high)
        number = int(here_M.sum())
        mean, share = (float(part_M[here_M].mean()) if number else float("nan") for part_M in (top_M, right_M))
        bins.append(ReliabilityBin(low, high, number, mean, share))
    return tuple(bins)


def _auc(positive_N: NDArray[np.float64], negative_M: NDArray[np.float64]) -> float:
    """Return the share of pairs whose first is larger; ties count one half. NaN if one of the groups is empty."""
    larger_NM = (positive_N[:, None] > negative_M).astype(float) + 0.5 * (positive_N[:, None] == negative_M)
    return float(larger_NM.mean()) if larger_NM.size else float("nan")
