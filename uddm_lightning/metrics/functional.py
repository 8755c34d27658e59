"""How sure and how different predictions are: pure functions of log-probabilities, some of them up to a constant.

Shapes: N tokens, V ids in the vocabulary. Everything is in nats.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PredictionSpread(NamedTuple):
    """How widely each token's prediction p spreads, five numbers (N,).

    Attributes:
        entropy: - sum_v p_v ln p_v in nats, in [0, ln V].
        variance: sum_v p_v (1 - p_v), the summed variances of the indicators [x_0 = v], in [0, 1 - 1 / V].
        variance_norm: sqrt(sum_v (p_v (1 - p_v))^2), the Euclidean norm of the same V variances, in [0, 1 / 2]: of
            the diagonal of the covariance matrix, not of the matrix.
        top2_gap: largest minus second largest probability, in [0, 1].
        top_probability: the largest probability, in [1 / V, 1].
    """

    entropy: Tensor
    variance: Tensor
    variance_norm: Tensor
    top2_gap: Tensor
    top_probability: Tensor


def spread(logits_NV: Tensor) -> PredictionSpread:
    """Five measures of each token's doubt, of predictions p = softmax(logits).

    Args:
        logits_NV: log-probabilities of at least two ids, up to a constant of each token; -inf stands for probability 0.

    Raises:
        ValueError: if there is only one id, which leaves no doubt.
    """
    if logits_NV.shape[1] < 2:
        raise ValueError(f"`logits_NV` must hold at least 2 ids, got {logits_NV.shape[1]}: one id leaves no doubt.")
    p_NV = logits_NV.softmax(1)
    top_N, second_N = p_NV.topk(2, dim=1).values.unbind(1)
    variance_NV = p_NV * (1.0 - p_NV)
    norm_N = variance_NV.square().sum(1).sqrt()
    return PredictionSpread(entropy(logits_NV), variance_NV.sum(1), norm_N, top_N - second_N, top_N)


def entropy(logits_NV: Tensor) -> Tensor:
    """Shannon entropy H = - sum_v p_v ln p_v of each token's prediction p = softmax(logits).

    Args:
        logits_NV: log-probabilities up to a constant of each token; -inf stands for probability 0 and adds nothing.

    Returns:
        Entropies (N,) in nats, in [0, ln V] up to rounding, in the dtype of `logits_NV`.
    """
    # With z_v = logit_v - max and s = sum_v exp z_v: H = ln s - sum_v z_v exp(z_v) / s. Both terms are at least 0, so
    # that nothing cancels; and a pass over V is saved that would only normalise.
    z_NV = (logits_NV - logits_NV.amax(1, keepdim=True)).clamp_(min=torch.finfo(logits_NV.dtype).min)
    weight_NV = z_NV.exp()
    sum_N = weight_NV.sum(1)
    return sum_N.log() - weight_NV.mul_(z_NV).sum(1) / sum_N


def margin(logits_NV: Tensor, ids_N: Tensor) -> Tensor:
    """Classification margin ln p[id] - max_{v != id} ln p[v]; above 0 where the id is the likeliest one.

    Args:
        logits_NV: log-probabilities of at least two ids, up to a constant of each token; -inf stands for probability 0.
        ids_N: int64, the true id of each token.

    Returns:
        Margins (N,) in nats: inf where no other id is possible, -inf where the id itself is impossible.

    Raises:
        ValueError: if there is only one id, which has no rival.
    """
    if logits_NV.shape[1] < 2:
        raise ValueError(f"`logits_NV` must hold at least 2 ids, got {logits_NV.shape[1]}: one id has no rival.")
    own_N1 = logits_NV.gather(1, ids_N[:, None])
    rival_N = logits_NV.scatter(1, ids_N[:, None], -torch.inf).amax(1)
    return own_N1[:, 0] - rival_N


def total_variation(logp_NV: Tensor, logq_NV: Tensor) -> Tensor:
    """Total variation distance 1/2 sum_v |p_v - q_v| of two predictions for each token, (N,), in [0, 1]."""
    return (logp_NV.exp() - logq_NV.exp()).abs().sum(1) / 2
