"""How sure and how different predictions are: pure functions of log-probabilities.

Shapes: N tokens, V ids in the vocabulary. Everything is in nats.
"""

import torch
from torch import Tensor


def entropy(logp_NV: Tensor) -> Tensor:
    """Shannon entropy H = - sum_v p_v ln p_v of each token's prediction.

    Args:
        logp_NV: normalised log-probabilities; -inf stands for probability 0 and adds nothing.

    Returns:
        Entropies (N,) in nats, in [0, ln V] up to rounding, in the dtype of `logp_NV`.
    """
    return -(logp_NV.exp() * logp_NV.clamp(min=torch.finfo(logp_NV.dtype).min)).sum(1)


def margin(logp_NV: Tensor, ids_N: Tensor) -> Tensor:
    """Classification margin ln p[id] - max_{v != id} ln p[v]; above 0 where the id is the likeliest one.

    Args:
        logp_NV: normalised log-probabilities of at least two ids; -inf stands for probability 0.
        ids_N: int64, the true id of each token.

    Returns:
        Margins (N,) in nats: inf where no other id is possible, -inf where the id itself is impossible.

    Raises:
        ValueError: if there is only one id, which has no rival.
    """
    if logp_NV.shape[1] < 2:
        raise ValueError(f"`logp_NV` must hold at least 2 ids, got {logp_NV.shape[1]}: one id has no rival.")
    own_N1 = logp_NV.gather(1, ids_N[:, None])
    rival_N = logp_NV.scatter(1, ids_N[:, None], -torch.inf).amax(1)
    return own_N1[:, 0] - rival_N


def total_variation(logp_NV: Tensor, logq_NV: Tensor) -> Tensor:
    """Total variation distance 1/2 sum_v |p_v - q_v| of two predictions for each token, (N,), in [0, 1]."""
    return (logp_NV.exp() - logq_NV.exp()).abs().sum(1) / 2
