"""Samples from categorical distributions.

Shapes: N tokens, V ids.
"""

import torch
from torch import Tensor


def sample_categorical(logp_NV: Tensor, quantile_N: Tensor) -> Tensor:
    """Return the ids at given quantiles of categorical distributions. An id of probability 0 is never returned.

    Args:
        logp_NV: log-probabilities; they need not be normalised.
        quantile_N: float64 numbers in [0, 1).

    Returns:
        int64 ids (N,): the smallest id whose cumulative probability exceeds the quantile.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.categorical import sample_categorical
        >>> logp_NV = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]).log()
        >>> sample_categorical(logp_NV, torch.tensor([0.6, 0.6], dtype=torch.float64))
        tensor([1, 2])
    """
    cumulative_NV = logp_NV.double().exp().cumsum(1)
    target_N = quantile_N * cumulative_NV[:, -1]
    sampled_N = torch.searchsorted(cumulative_NV, target_N[:, None], right=True)[:, 0]
    return sampled_N.clamp_(max=logp_NV.shape[1] - 1)
