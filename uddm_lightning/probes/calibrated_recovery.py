"""Recovery of predictions at the temperature that suits test rows best.

Shapes: B rows, L positions, C tokens in a chunk, V ids.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core.batch import Noised
from uddm_lightning.metrics import BestTemperature, RecoveryResult, TokenRecovery
from uddm_lightning.metrics.temperature import tempered_cross_entropies
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.results.declarations import Column, share
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers.base import Sampler

CALIBRATED_COLUMNS = (
    Column(
        "temperature",
        "temperature",
        "T with the smallest cross-entropy of p^(1 / T) on corrupted tokens of test rows; with recovery.calibrate",
        0.0,
    ),
    share("recovery_calibrated", "recovery of the chain with predictions p^(1 / T) at that temperature", interval=True),
)
SPLITS = ("train", "test")


class _Chain(NamedTuple):
    at: MeasuredBatch
    noised: Noised
    chance_BL: Tensor
    recovery: TokenRecovery


class CalibratedRecovery:
    """Keeps noisy rows until the temperature of the model is known, then restores them with tempered predictions.

    Chains start from the same noisy rows and use the same random numbers as those of the untempered predictions.
    """

    def __init__(self) -> None:
        self._chains: list[_Chain] = []
        self._temperature: dict[str, BestTemperature] = {}  # by weights
        self._recovery: dict[tuple[str, str], TokenRecovery] = {}  # by split and weights

    def add(self, at: MeasuredBatch, noised: Noised, chance_BL: Tensor) -> None:
        """Keep a batch. Rows of the split "test" also decide the temperature."""
        if at.split not in SPLITS:
            return
        if at.split == "test":
            fit = self._temperature.setdefault(at.weights, BestTemperature().to(at.task.device))
            corrupted_BL = at.counted_BL & (noised.xt_BL != noised.x0_BL)
            losses_KBL = at.denoiser(_losses, noised.xt_BL, noised.t_B, noised.valid_BL, noised.x0_BL, corrupted_BL)
            fit.update(losses_KBL, corrupted_BL, at.ids)
        recovery = self._recovery.setdefault((at.split, at.weights), TokenRecovery().to(at.task.device))
        recovery.population = at.population
        self._chains.append(_Chain(at, noised, chance_BL, recovery))

    def records(self, sampler: Sampler) -> Iterator[tuple[tuple[str, str], Record]]:
        """Run the chains, and yield split and weights with the values of `CALIBRATED_COLUMNS`."""
        best = {weights: fit.compute() for weights, fit in self._temperature.items()}
        for at, noised, chance_BL, recovery in self._chains:
            temperature = best.get(at.weights, math.nan)
            if math.isnan(temperature) or not len(noised.xt_BL):
                continue
            denoiser, clean_BL = at.denoiser.at_temperature(temperature), noised.xt_BL == noised.x0_BL
            xhat_BL = sampler(denoiser, noised.xt_BL, noised.t_B, at.batch.keys_B, noised.valid_BL, clean_BL)
            recovery.update(noised.x0_BL, noised.xt_BL, xhat_BL, at.counted_BL, at.ids, chance_BL)
        for place, metric in self._recovery.items():
            yield place, {"temperature": best.get(place[1], math.nan), **_fields(metric.compute())}


def _fields(result: RecoveryResult) -> Record:
    ends: dict[str, Any] = {"": result.recovery, "_low": result.recovery_low, "_high": result.recovery_high}
    return {f"recovery_calibrated{end}": value for end, value in ends.items()}


def _losses(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor, corrupted_C: Tensor) -> tuple[Tensor, ...]:
    """Return the cross-entropies of corrupted tokens, and 0 at the others, which are most of them."""
    some_M = corrupted_C.nonzero()[:, 0]
    losses_KM = tempered_cross_entropies(logits_CV[some_M], x0_C[some_M])
    empty_C = torch.zeros(len(x0_C), dtype=logits_CV.dtype, device=x0_C.device)
    return tuple(empty_C.index_copy(0, some_M, loss_M) for loss_M in losses_KM)
