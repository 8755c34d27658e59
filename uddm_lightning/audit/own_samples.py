"""Evidence on the regime of a model from its own samples: no text and no training data are needed.

Shapes: S samples, L positions, V ids, B rows of a batch, C tokens of a chunk.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.audit.blind import ngram_nll
from uddm_lightning.core import keyed_random
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.core.progress import progress
from uddm_lightning.metrics import functional as F
from uddm_lightning.metrics.neighbours import hamming
from uddm_lightning.runs.run import Run

T = 0.1  # reference time of the entropies
TIMES = (0.05, 0.1, 0.25, 0.5, 1.0)  # of the curve of entropy against t
VANISHING = 0.01  # share of ln V below which the entropy of a token counts as vanishing
NEAR = 0.1  # largest share of positions in which near-duplicates differ
ORDER = 5  # n of the longest n-grams
FOLDS = 5


class Evidence(NamedTuple):
    """Measurements on a model's own samples. Entropies are in nats per token, at `T` unless it says otherwise.

    Attributes:
        samples: number of samples, S.
        entropy: on own samples.
        nll: negative log-likelihood of the own samples' tokens under the same predictions.
        entropy_leave_one_out: on uncorrupted own samples, at the smallest t of training.
        vanishing: share of the tokens of own samples whose entropy is below `VANISHING` ln V.
        entropy_shuffled: on own samples whose tokens are permuted within each row.
        entropy_random: on rows of uniform random tokens.
        entropy_spliced: on uncorrupted rows that join the first half of one sample and the second half of another;
            NaN if the samples that would be joined are near-duplicates.
        nll_spliced: negative log-likelihood of their tokens.
        largest_entropy: ln V.
        unigram_entropy: of the token frequencies of all samples.
        ngram_entropy: NLL of samples under a 5-gram model of other samples; near-duplicates are left out.
        duplicates: share of samples that equal another sample.
        near_duplicates: share of samples that differ from another sample at a share of at most `NEAR` of the positions.
        entropy_near_duplicates: entropy of these samples alone; NaN without any.
        leak: mean total variation of a prediction if only its own token is redrawn; 0 for exact leave-one-out ones.
        curve: entropy on own samples at each of `TIMES`.
    """

    samples: int
    entropy: float
    nll: float
    entropy_leave_one_out: float
    vanishing: float
    entropy_shuffled: float
    entropy_random: float
    entropy_spliced: float
    nll_spliced: float
    largest_entropy: float
    unigram_entropy: float
    ngram_entropy: float
    duplicates: float
    near_duplicates: float
    entropy_near_duplicates: float
    leak: float
    curve: tuple[float, ...]


class Measured(NamedTuple):
    """The samples of a model with the entropy of each token.

    Attributes:
        evidence: numbers of all samples.
        tokens_SL: int64 ids.
        entropy_SL: float64, at `T`; NaN at tokens without a prediction.
    """

    evidence: Evidence
    tokens_SL: Tensor
    entropy_SL: Tensor


def measure_own_samples(run: Run, num_rows: int = 256, seed: int | None = None) -> Measured:
    """Draw samples of a model and measure the evidence on its regime.

    Args:
        run: the model.
        num_rows: number of samples, at least 2.
        seed: of samples and noise; None takes the run's.

    Example:
        >>> from uddm_lightning import load_run
        >>> measure_own_samples(load_run("runs/quickstart-n32-s0")).evidence.entropy  # doctest: +SKIP
        0.031
    """
    seed = run.model.seed if seed is None else seed
    torch.set_num_threads(run.model.threads)
    tokens_SL = run.draw_ids(num_rows, seed)
    length, vocab_size, t_min = tokens_SL.shape[1], run.model.task.process.vocab_size, run.model.task.objective.t_min
    numbers_S1, positions = torch.arange(num_rows)[:, None], torch.arange(length)
    noise_SL = keyed_random.integers(2**31, seed, Stream.PROBE, -2, numbers_S1, positions)
    shuffled_SL = tokens_SL.gather(1, noise_SL.argsort(1))
    random_SL = keyed_random.integers(vocab_size, seed, Stream.PROBE, -3, numbers_S1, positions)
    clusters_S = near_clusters(tokens_SL, NEAR)
    partner_S = numbers_S1[:, 0].roll(num_rows // 2)
    joined_SL = torch.where(positions < length // 2, tokens_SL, tokens_SL[partner_S])
    joined_NL = joined_SL[clusters_S != clusters_S[partner_S]]

    curve = run.entropy(None, TIMES, num_rows, seed)
    own, own_nll = _predict(run, tokens_SL, T, seed, "own samples")
    shuffled, _ = _predict(run, shuffled_SL, T, seed, "shuffled samples")
    random, _ = _predict(run, random_SL, T, seed, "random rows")
    clean, _ = _predict(run, tokens_SL, t_min, None, "clean samples")
    spliced, spliced_nll = _predict(run, joined_NL, t_min, None, "spliced samples")
    counts_S = torch.bincount(clusters_S, minlength=num_rows)[clusters_S]
    distinct_DL = tokens_SL[clusters_S == numbers_S1[:, 0]]
    ones_DL = torch.ones_like(distinct_DL, dtype=torch.bool)
    folds_D = (torch.arange(len(distinct_DL)) % FOLDS).numpy()
    ngram = (
        ngram_nll(distinct_DL, ones_DL, vocab_size, folds_D).mean() if len(distinct_DL) > 1 else math.log(vocab_size)
    )
    same_S = near_clusters(tokens_SL, 0.0)
    evidence = Evidence(
        samples=num_rows,
        entropy=_mean(own),
        nll=_mean(own_nll),
        entropy_leave_one_out=_mean(clean),
        vanishing=_mean((own < VANISHING * math.log(vocab_size)).double().where(own.isfinite(), torch.nan)),
        entropy_shuffled=_mean(shuffled),
        entropy_random=_mean(random),
        entropy_spliced=_mean(spliced),
        nll_spliced=_mean(spliced_nll),
        largest_entropy=math.log(vocab_size),
        unigram_entropy=_frequency_entropy(tokens_SL),
        ngram_entropy=float(ngram),
        duplicates=_mean((torch.bincount(same_S)[same_S] > 1).double()),
        near_duplicates=_mean((counts_S > 1).double()),
        entropy_near_duplicates=_mean(own[counts_S > 1]),
        leak=float(curve["self_token_influence"][0].as_py()),
        curve=tuple(curve["entropy"].to_pylist()),
    )
    return Measured(evidence, tokens_SL, own)


def near_clusters(rows_SL: Tensor, within: float) -> Tensor:
    """Return for each row the number of the first row that it resembles, int64 (S,); its own number if there is none.

    Rows resemble a first row from which they differ at a share of at most `within` of the positions.

    Example:
        >>> near_clusters(torch.tensor([[1, 2], [3, 4], [1, 2]]), 0.0).tolist()
        [0, 1, 0]
    """
    near_SS = hamming(rows_SL, rows_SL) <= within * rows_SL.shape[1] + 1e-9  # 0.1 * 30 is a little more than 3
    clusters_S = torch.arange(len(rows_SL))
    for first in range(len(rows_SL)):
        if clusters_S[first] == first:
            later_S = near_SS[first] & (clusters_S > first) & (clusters_S == torch.arange(len(rows_SL)))
            clusters_S[later_S] = first
    return clusters_S


def _predict(run: Run, rows_SL: Tensor, t: float, seed: int | None, doing: str) -> tuple[Tensor, Tensor]:
    """Return entropy and NLL of each token, float64 (S, L) on the CPU; NaN at special tokens and without a prediction.

    Rows are corrupted at time t if a seed is given, else they are shown as they are.
    """
    task, special_L, parts = run.model.task, run.special_positions(), []
    for start in progress(range(0, len(rows_SL), run.batch), doing, "batches"):
        x0_BL = rows_SL[start : start + run.batch].to(task.device)
        numbers_B = torch.arange(start, start + len(x0_BL), device=task.device)
        t_B = torch.full((len(x0_BL),), t, dtype=torch.float64, device=task.device)
        if seed is None:
            shown_BL = task.process.mask_position(x0_BL, numbers_B % x0_BL.shape[1])
        else:
            keys_B = keyed_random.key(seed, Stream.PROBE, -4, numbers_B)
            shown_BL = task.process.corrupt(x0_BL, t_B, keys_B).xt_BL
        predicted_BL = task.process.prediction_mask(shown_BL)
        if special_L is not None:
            predicted_BL = predicted_BL & ~special_L.to(task.device)
        both = run.denoiser(_entropy_and_nll, shown_BL, t_B, None, x0_BL)
        parts.append([value_BL.double().where(predicted_BL, torch.nan).cpu() for value_BL in both])
    if not parts:
        return rows_SL.double(), rows_SL.double()
    entropy_SL, nll_SL = (torch.cat(values) for values in zip(*parts, strict=True))
    return entropy_SL, nll_SL


def _entropy_and_nll(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor) -> tuple[Tensor, Tensor]:
    return F.entropy(logits_CV), -logits_CV.log_softmax(1).gather(1, x0_C[:, None])[:, 0]


def _frequency_entropy(rows_SL: Tensor) -> float:
    """Return the entropy of the token frequencies of all rows, in nats."""
    p_U = torch.unique(rows_SL, return_counts=True)[1].double() / rows_SL.numel()
    return float(-(p_U * p_U.log()).sum())


def _mean(values: Tensor) -> float:
    return float(values.nanmean())
