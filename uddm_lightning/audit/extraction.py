"""Extraction: hide a part of a sequence and let the chain restore it from the rest.

Shapes: N sequences, B of them in a batch, L positions, R attempts.
"""

from collections.abc import Sequence
from math import comb
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uddm_lightning.audit.sequences import Sequences
from uddm_lightning.core.keyed_random import Stream, integers, key, uniform
from uddm_lightning.core.progress import progress
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.stats.intervals import rate_interval
from uddm_lightning.training.task import DiffusionTask

BATCH = 64
FLOAT = NDArray[np.float64]
MASKS = {
    "prefix": "the first part is hidden",
    "suffix": "the last part is hidden",
    "span": "the middle is hidden, and both edges are known",
    "scattered": "random positions are hidden",
}


class Attempts(NamedTuple):
    """Results of R attempts to restore each sequence.

    Attributes:
        verbatim_N: attempts that restored every hidden token, int64.
        right_N: hidden tokens that were restored, over all attempts, int64.
        hidden_N: hidden tokens, over all attempts, int64.
    """

    verbatim_N: NDArray[np.int64]
    right_N: NDArray[np.int64]
    hidden_N: NDArray[np.int64]


def hidden_mask(kind: str, counted_BL: Tensor, share: float, keys_B: Tensor) -> Tensor:
    """Return the positions to hide, bool (B, L): a share of the counted positions, at least one.

    Args:
        kind: one of `MASKS`.
        counted_BL: bool, False at padding and special positions, which are never hidden.
        share: share of the counted positions, in (0, 1].
        keys_B: int64 keys of the scattered positions.

    Example:
        >>> hidden_mask("span", torch.ones(1, 6).bool(), 0.5, torch.zeros(1).long()).int()
        tensor([[0, 1, 1, 1, 0, 0]], dtype=torch.int32)
    """
    count_B1 = counted_BL.sum(1, keepdim=True)
    hidden_B1 = (count_B1 * share).round().long().clamp(min=1)
    place_BL = counted_BL.cumsum(1) - 1  # place among the counted positions
    if kind == "scattered":
        order_BL = uniform(keys_B[:, None], Stream.PROBE, torch.arange(counted_BL.shape[1], device=keys_B.device))
        place_BL = order_BL.where(counted_BL, 2.0).argsort(1).argsort(1)
    first_B1 = {"suffix": count_B1 - hidden_B1, "span": (count_B1 - hidden_B1) // 2}.get(kind, 0 * count_B1)
    return counted_BL & (place_BL >= first_B1) & (place_BL < first_B1 + hidden_B1)


def attempt(
    task: DiffusionTask, denoiser: Denoiser, sequences: Sequences, kind: str, share: float, attempts: int, seed: int
) -> Attempts:
    """Hide a part of each sequence and run the clamped ancestral chain from t = 1, several times.

    Hidden positions start from the noise of t = 1: uniform random ids, or the mask. The other positions stay as they
    are.

    Args:
        task: process and sampler of the model; the chain has as many steps as its sampler.
        denoiser: predictions of its weights.
        sequences: the sequences.
        kind: one of `MASKS`.
        share: share of the counted positions to hide, in (0, 1].
        attempts: R, at least 1.
        seed: of noise and scattered positions.
    """
    sampler = AncestralSampler(task.sampler.steps, clamp=True)
    sums_3N = torch.zeros(3, len(sequences), dtype=torch.int64)
    parts = [(start, number) for start in range(0, len(sequences), BATCH) for number in range(attempts)]
    for start, number in progress(parts, f"extraction, {kind}", "batches"):
        rows_B = torch.arange(start, min(start + BATCH, len(sequences)))
        part = sequences.select(rows_B)
        x0_BL, counted_BL = part.tokens_NL.to(task.device), part.counted_NL.to(task.device)
        valid_BL = None if bool(part.valid_NL.all()) else part.valid_NL.to(task.device)
        hidden_BL = hidden_mask(kind, counted_BL, share, key(seed, rows_B).to(task.device))
        keys_B = key(seed, Stream.MEASURING, rows_B, number).to(task.device)
        positions_L = torch.arange(x0_BL.shape[1], device=task.device)
        noise_BL = integers(task.process.vocab_size, keys_B[:, None], Stream.SAMPLES, positions_L)
        x1_BL = task.process.sample_prior(noise_BL).where(hidden_BL, x0_BL)
        xhat_BL = sampler(denoiser, x1_BL, 1.0, keys_B, valid_BL, ~hidden_BL)
        right_BL = hidden_BL & (xhat_BL == x0_BL)
        verbatim_B = (right_BL == hidden_BL).all(1)
        counts_3B = torch.stack([verbatim_B.long(), right_BL.sum(1), hidden_BL.sum(1)])
        sums_3N[:, start : start + BATCH] += counts_3B.cpu()
    return Attempts(*sums_3N.numpy())


def success_probability(verbatim_N: ArrayLike, attempts: int, n: int) -> FLOAT:
    """Return the probability that at least one of n attempts is verbatim, estimated from R >= n attempts, (N,).

    With k verbatim attempts it is 1 - C(R - k, n) / C(R, n), which is unbiased.

    Args:
        verbatim_N: number k of verbatim attempts.
        attempts: R.
        n: number of attempts, from 1 to R.

    Example:
        >>> success_probability([0, 1, 4], attempts=4, n=2).tolist()
        [0.0, 0.5, 1.0]
    """
    if not 1 <= n <= attempts:
        raise ValueError(f"`n` must be from 1 to `attempts` = {attempts}, got {n}.")
    counts = np.asarray(verbatim_N, np.int64).tolist()
    return np.array([1 - comb(attempts - k, n) / comb(attempts, n) for k in counts], dtype=np.float64)


def summarize_attempts(
    found: Attempts, documents_N: NDArray[np.int64], attempts: int, probabilities: Sequence[float]
) -> dict[str, Any]:
    """Return rates of extraction with 95 % intervals over documents, as plain data.

    A sequence is (n, p)-extractable if at least one of n attempts is verbatim with probability p or more (Hayes et al.
    2024, "Measuring memorization in language models via probabilistic extraction", arXiv 2410.19482).

    Args:
        found: the attempts.
        documents_N: document of each sequence.
        attempts: R.
        probabilities: values of p, in (0, 1].
    """
    _, codes_N = np.unique(documents_N, return_inverse=True)

    def rate(successes_N: NDArray[np.int64], trials_N: NDArray[np.int64]) -> dict[str, float]:
        return rate_interval(np.bincount(codes_N, successes_N), np.bincount(codes_N, trials_N))._asdict()

    ones_N = np.ones_like(found.verbatim_N)
    table = []
    for n in sorted({1, max(1, attempts // 2), attempts}):
        success_N = success_probability(found.verbatim_N, attempts, n)
        reached = [(p, (success_N >= p - 1e-12).astype(np.int64)) for p in probabilities]
        table += [{"n": n, "p": p, **rate(reached_N, ones_N)} for p, reached_N in reached]
    return {
        "sequences": len(ones_N),
        "attempts": attempts,
        "hidden_tokens": int(found.hidden_N.sum()) // attempts,
        "verbatim": rate(found.verbatim_N, attempts * ones_N),
        "extracted": rate((found.verbatim_N > 0).astype(np.int64), ones_N),
        "tokens_right": rate(found.right_N, found.hidden_N),
        "n_p": table,
    }
