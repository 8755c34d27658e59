"""Exposure of canaries: how far a planted row stands out among rows that were drawn in the same way.

Shapes: C canaries, A alternatives.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from uddm_lightning.audit.scores import ScoreSettings, score
from uddm_lightning.audit.sequences import canary_sequences
from uddm_lightning.data import Canaries
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.stats.intervals import mean_interval
from uddm_lightning.training.task import DiffusionTask

FLOAT = NDArray[np.float64]


def exposure(loss_C: ArrayLike, loss_A: ArrayLike) -> FLOAT:
    """Return the exposure of each canary: log2(number of candidates) - log2(rank), in bits, (C,).

    The candidates of a canary are the canary itself and the A alternatives, and its rank is that of its loss, from 1
    for the smallest; ties count one half. The exposure lies in [0, log2(A + 1)]. A canary that was never planted has
    an expected exposure of log2(A + 1) - log2((A + 1)!) / (A + 1), which is close to log2(e) = 1.44 bits.

    Source: Carlini et al. 2019, "The secret sharer", arXiv 1802.08232, section 4.

    Args:
        loss_C: losses of the canaries.
        loss_A: losses of rows that were drawn in the same way and never planted.

    Example:
        >>> exposure([0.5, 2.5], [1.0, 2.0, 3.0]).round(3).tolist()
        [2.0, 0.415]
    """
    own_C1, alternatives_A = np.asarray(loss_C, np.float64)[:, None], np.asarray(loss_A, np.float64)
    rank_C = 1 + (alternatives_A < own_C1).sum(1) + (alternatives_A == own_C1).sum(1) / 2
    bits_C: FLOAT = np.log2(len(alternatives_A) + 1) - np.log2(rank_C)
    return bits_C


def audit_canaries(
    task: DiffusionTask, denoiser: Denoiser, canaries: Canaries, alternatives: int, settings: ScoreSettings
) -> dict[str, Any]:
    """Return exposure and recovery of canaries against their repetitions, as plain data.

    Args:
        task: process, objective and sampler of the model.
        denoiser: predictions of its weights.
        canaries: that the run has planted.
        alternatives: number of alternatives A, which follow the canaries in their sequence.
        settings: noise of the scores.
    """
    numbers = torch.arange(len(canaries))
    own = score(task, denoiser, canary_sequences(canaries, numbers), ("loss", "recovery"), settings, "canaries")
    others = canary_sequences(canaries, len(canaries) + torch.arange(alternatives))
    bits_C = exposure(own["loss"], score(task, denoiser, others, ("loss",), settings, "alternatives")["loss"])
    highest = float(np.log2(alternatives + 1))
    repetitions_C = np.array(canaries.repetitions)
    return {
        "alternatives": alternatives,
        "highest_exposure": highest,
        "exposure_by_chance": expected_exposure(alternatives),
        "by_repetitions": [
            {
                "repetitions": int(repetitions),
                "canaries": int((repetitions_C == repetitions).sum()),
                "exposure": _mean(bits_C[repetitions_C == repetitions], highest),
                "recovery": _mean(own["recovery"][repetitions_C == repetitions], 1.0),
            }
            for repetitions in np.unique(repetitions_C)
        ],
        "canaries": [
            {"repetitions": repetitions, "exposure": bits, "loss": loss, "recovery": recovery}
            for repetitions, bits, loss, recovery in zip(
                canaries.repetitions, bits_C.tolist(), own["loss"].tolist(), own["recovery"].tolist(), strict=True
            )
        ],
    }


def expected_exposure(alternatives: int) -> float:
    """Return the expected exposure in bits of a canary that was never planted.

    Example:
        >>> round(expected_exposure(1), 3), round(expected_exposure(10**6), 3)
        (0.5, 1.443)
    """
    ranks = np.arange(1, alternatives + 2)
    return float(np.log2(alternatives + 1) - np.log2(ranks).mean())


def _mean(values: Sequence[float] | FLOAT, high: float) -> dict[str, float]:
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    return mean_interval(known, np.ones(len(known)), 0.0, high)._asdict()
