"""Scores of sequences under a model. Members of the training set tend to have larger ones.

The noise of draw d is the same for every sequence, so that scores differ by the text alone, and a sequence has the same
score in every list.

Shapes: N sequences, B of them in a batch, L positions, D draws of noise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uddm_lightning.audit.sequences import Sequences
from uddm_lightning.core.batch import NoisyTokens, TokenBatch
from uddm_lightning.core.keyed_random import Stream, key
from uddm_lightning.core.progress import progress
from uddm_lightning.metrics.rowwise import masked_sum
from uddm_lightning.probes import BasinProbe
from uddm_lightning.probes.entropies import entropies
from uddm_lightning.probes.measured_batch import MeasuredBatch, one_position
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.task import DiffusionTask

BATCH = 64
FLOAT = NDArray[np.float64]

# sign of a score: -1 if a smaller value looks like a member
SIGNS = {"loss": -1.0, "entropy": -1.0, "entropy_leave_one_out": -1.0, "recovery": 1.0, "critical_t": 1.0}
NAMES = tuple(name for name in SIGNS if name != "critical_t")  # the scores that take few chains
TITLES = {
    "loss": "NELBO in nats per token, on the range of t of training",
    "entropy": "entropy of the predictions in nats per token, at the reference t",
    "entropy_leave_one_out": "entropy of the predictions on the clean sequence in nats per token",
    "recovery": "share of corrupted tokens that the chain restores, at the reference t",
    "critical_t": "critical corruption t_c: the t up to which most chains return to the sequence",
}


class ScoreSettings(NamedTuple):
    """Settings of the scores.

    Attributes:
        t: reference time of entropy and recovery, in (0, 1].
        draws: draws of noise for each sequence, at least 1.
        seed: of the noise.
    """

    t: float = 0.1
    draws: int = 8
    seed: int = 0


DEFAULT_NOISE = ScoreSettings()


def score(
    task: DiffusionTask,
    denoiser: Denoiser,
    sequences: Sequences,
    names: Sequence[str] = NAMES,
    settings: ScoreSettings = DEFAULT_NOISE,
    doing: str = "scores",
) -> dict[str, FLOAT]:
    """Return the scores (N,) of sequences, by name (see `TITLES`).

    The loss is the mean over D times in the middle of D equal parts of the range of t of training. Entropy and recovery
    are measured on D corrupted copies at the reference t.

    Args:
        task: process, objective and sampler of the model.
        denoiser: predictions of its weights.
        sequences: the sequences.
        names: scores to compute.
        settings: noise of the scores.
        doing: name of the work, for the display of progress.

    Returns:
        Scores as they are defined, whatever their sign means; NaN where no token was corrupted, or no chain left.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for start in progress(range(0, len(sequences), BATCH), doing, "batches"):
        part = sequences.select(torch.arange(start, min(start + BATCH, len(sequences))))
        batch, counted_BL = _batch(part, task, settings.seed), part.counted_NL.to(task.device)
        scores = {}
        if "loss" in names:
            scores["loss"] = _loss(task, denoiser, batch, counted_BL, settings)
        if {"entropy", "recovery"}.intersection(names):
            scores |= _at_reference(task, denoiser, batch, counted_BL, settings, "recovery" in names)
        if "entropy_leave_one_out" in names:
            scores["entropy_leave_one_out"] = _leave_one_out(task, denoiser, batch, counted_BL)
        if "critical_t" in names:
            scores["critical_t"] = _critical_t(task, denoiser, batch, counted_BL)
        for name, values in found.items():
            values.append(scores[name].cpu())
    return {name: torch.cat(values).double().numpy() for name, values in found.items()}


def residual(scores_N: FLOAT, level_N: FLOAT) -> FLOAT:
    """Return a score relative to another quantity: the residual of a least-squares line, fitted on all sequences.

    Example:
        >>> residual(np.array([1.0, 3.0, 5.0]), np.array([0.0, 1.0, 2.0])).round(6).tolist()
        [0.0, 0.0, 0.0]
    """
    known_N = ~np.isnan(scores_N)
    design_N2 = np.stack([np.ones_like(level_N), level_N], 1)
    line_2 = np.linalg.lstsq(design_N2[known_N], scores_N[known_N], rcond=None)[0]
    residuals_N: FLOAT = scores_N - design_N2 @ line_2
    return residuals_N


def _batch(part: Sequences, task: DiffusionTask, seed: int) -> TokenBatch:
    numbers_B = torch.arange(len(part), device=task.device)
    return TokenBatch(
        tokens_BL=part.tokens_NL.to(task.device),
        rows_B=numbers_B,
        places_B=numbers_B,
        keys_B=key(seed, Stream.MEASURING, torch.zeros_like(numbers_B)),
        quantiles_B=torch.zeros(len(part), dtype=torch.float64, device=task.device),
        valid_BL=None if bool(part.valid_NL.all()) else part.valid_NL.to(task.device),
        special_BL=None,
        seed=0,
        step=0,
    )


def _loss(
    task: DiffusionTask, denoiser: Denoiser, batch: TokenBatch, counted_BL: Tensor, settings: ScoreSettings
) -> Tensor:
    process, x0_BL = task.process, batch.tokens_BL
    low, high = task.objective.t_min, task.objective.t_max

    def nelbo(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor, alpha_C: Tensor, slope_C: Tensor) -> tuple[Tensor]:
        return (process.nelbo(logits_CV.log_softmax(1), NoisyTokens(x0_C, xt_C, alpha_C, slope_C)),)

    total_B = torch.zeros(len(x0_BL), dtype=torch.float64, device=x0_BL.device)
    for draw in range(settings.draws):
        t_B = torch.full_like(total_B, low + (high - low) * (draw + 0.5) / settings.draws)
        noised = process.corrupt(x0_BL, t_B, key(batch.keys_B, draw), batch.valid_BL)
        alpha_BL, slope_BL = (part_B[:, None].expand_as(x0_BL) for part_B in (noised.alpha_B, noised.slope_B))
        loss_BL = denoiser(nelbo, noised.xt_BL, t_B, batch.valid_BL, x0_BL, alpha_BL, slope_BL)[0]
        total_B += masked_sum(loss_BL, counted_BL)
    return total_B / (settings.draws * counted_BL.sum(1))


def _at_reference(
    task: DiffusionTask,
    denoiser: Denoiser,
    batch: TokenBatch,
    counted_BL: Tensor,
    settings: ScoreSettings,
    with_recovery: bool,
) -> dict[str, Tensor]:
    x0_BL, process = batch.tokens_BL, task.process
    sums: dict[str, list[Tensor]] = {name: [] for name in ("entropy", "predicted", "restored", "corrupted")}
    for draw in range(settings.draws):
        t_B = torch.full((len(x0_BL),), settings.t, dtype=torch.float64, device=x0_BL.device)
        keys_B = key(batch.keys_B, draw)
        xt_BL = process.corrupt(x0_BL, t_B, keys_B, batch.valid_BL).xt_BL
        entropy_BL = entropies(denoiser, xt_BL, t_B, batch.valid_BL)
        predicted_BL = counted_BL & process.prediction_mask(xt_BL)
        sums["entropy"].append(masked_sum(entropy_BL, predicted_BL))
        sums["predicted"].append(predicted_BL.sum(1))
        if with_recovery:
            corrupted_BL = counted_BL & (xt_BL != x0_BL)
            xhat_BL = task.sampler(denoiser, xt_BL, t_B, keys_B, batch.valid_BL, xt_BL == x0_BL)
            sums["restored"].append((corrupted_BL & (xhat_BL == x0_BL)).sum(1))
            sums["corrupted"].append(corrupted_BL.sum(1))
    total = {name: torch.stack(parts).double().sum(0) for name, parts in sums.items() if parts}
    scores = {"entropy": total["entropy"] / total["predicted"]}
    if with_recovery:
        scores["recovery"] = total["restored"] / total["corrupted"]
    return scores


def _leave_one_out(task: DiffusionTask, denoiser: Denoiser, batch: TokenBatch, counted_BL: Tensor) -> Tensor:
    x0_BL = batch.tokens_BL
    shown_BL = task.process.mask_position(x0_BL, one_position(batch, counted_BL))
    t_B = torch.full((len(x0_BL),), task.objective.t_min, dtype=torch.float64, device=x0_BL.device)
    predicted_BL = counted_BL & task.process.prediction_mask(shown_BL)
    entropy_BL = entropies(denoiser, shown_BL, t_B, batch.valid_BL)
    return masked_sum(entropy_BL, predicted_BL) / predicted_BL.sum(1)


def _critical_t(task: DiffusionTask, denoiser: Denoiser, batch: TokenBatch, counted_BL: Tensor) -> Tensor:
    probe = BasinProbe()
    probe.measure(MeasuredBatch(task, denoiser, batch, counted_BL, "audit", "ema", BatchNotes()))
    values_B = torch.full((len(counted_BL),), torch.nan, dtype=torch.float64)
    for record in probe.compute_records(task):
        for row in record["_rows"]:
            if row["critical_t"] is not None:
                values_B[row["row_id"]] = row["critical_t"]
    return values_B
