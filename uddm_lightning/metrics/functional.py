"""Measures of predictions, as pure functions of log-probabilities.

Shapes: N tokens, V ids in the vocabulary. Everything is in nats.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.processes.fused import is_fused
from uddm_lightning.processes.row_statistics import row_statistics


class PredictionSpread(NamedTuple):
    """Five measures of the spread of each token's prediction p, each (N,).

    Attributes:
        entropy: - sum_v p_v ln p_v in nats, in [0, ln V].
        variance: sum_v p_v (1 - p_v), the summed variances of the indicators [x_0 = v], in [0, 1 - 1 / V].
        variance_norm: sqrt(sum_v (p_v (1 - p_v))^2), the Euclidean norm of these V variances, in [0, 1 / 2]. It is the
            norm of the diagonal of the covariance matrix, not of the matrix.
        top2_gap: largest minus second largest probability, in [0, 1].
        top_probability: the largest probability, in [1 / V, 1].
    """

    entropy: Tensor
    variance: Tensor
    variance_norm: Tensor
    top2_gap: Tensor
    top_probability: Tensor


def spread(logits_NV: Tensor) -> PredictionSpread:
    """Return five measures of the spread of predictions p = softmax(logits).

    Args:
        logits_NV: log-probabilities of at least two ids, up to a constant of each token; -inf is probability 0.

    Raises:
        ValueError: there is only one id.

    Example:
        >>> spread(torch.tensor([[0.75, 0.25]]).log()).top2_gap
        tensor([0.5000])
    """
    if logits_NV.shape[1] < 2:
        raise ValueError(f"`logits_NV` must hold at least 2 ids, got {logits_NV.shape[1]}.")
    p_NV = logits_NV.softmax(1)
    top_N, second_N = p_NV.topk(2, dim=1).values.unbind(1)
    variance_NV = p_NV * (1.0 - p_NV)
    norm_N = variance_NV.square().sum(1).sqrt()
    return PredictionSpread(entropy(logits_NV), variance_NV.sum(1), norm_N, top_N - second_N, top_N)


def entropy(logits_NV: Tensor) -> Tensor:
    """Return the Shannon entropy H = - sum_v p_v ln p_v of predictions p = softmax(logits).

    Args:
        logits_NV: log-probabilities up to a constant of each token; -inf is probability 0.

    Returns:
        Entropies (N,) in nats, in [0, ln V] up to rounding, in the dtype of `logits_NV`.

    Example:
        >>> entropy(torch.zeros(1, 4))  # ln 4
        tensor([1.3863])
    """
    if is_fused(logits_NV):
        return row_statistics(logits_NV, torch.zeros_like(logits_NV[:, 0], dtype=torch.int64)).entropy
    # With z_v = logit_v - max and s = sum_v exp z_v: H = ln s - sum_v z_v exp(z_v) / s. Both terms are at least 0, so
    # nothing cancels, and no pass over V normalises.
    z_NV = (logits_NV - logits_NV.amax(1, keepdim=True)).clamp_(min=torch.finfo(logits_NV.dtype).min)
    weight_NV = z_NV.exp()
    sum_N = weight_NV.sum(1)
    return sum_N.log() - weight_NV.mul_(z_NV).sum(1) / sum_N


def margin(logits_NV: Tensor, ids_N: Tensor) -> Tensor:
    """Return the classification margin ln p[id] - max_{v != id} ln p[v].

    Args:
        logits_NV: log-probabilities of at least two ids, up to a constant of each token; -inf is probability 0.
        ids_N: int64, the true id of each token.

    Returns:
        Margins (N,) in nats, above 0 if the id is the most probable one; inf if no other id is possible, -inf if the id
        itself is impossible.

    Raises:
        ValueError: there is only one id.

    Example:
        >>> margin(torch.tensor([[2.0, 0.5, 0.0]]), torch.tensor([0]))
        tensor([1.5000])
    """
    if logits_NV.shape[1] < 2:
        raise ValueError(f"`logits_NV` must hold at least 2 ids, got {logits_NV.shape[1]}.")
    own_N1 = logits_NV.gather(1, ids_N[:, None])
    rival_N = logits_NV.scatter(1, ids_N[:, None], -torch.inf).amax(1)
    return own_N1[:, 0] - rival_N


def total_variation(logp_NV: Tensor, logq_NV: Tensor) -> Tensor:
    """Return the total variation distance 1/2 sum_v |p_v - q_v| of two predictions, (N,), in [0, 1].

    Example:
        >>> total_variation(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]]).log())
        tensor([0.5000])
    """
    return (logp_NV.exp() - logq_NV.exp()).abs().sum(1) / 2
