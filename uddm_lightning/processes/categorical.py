"""Draws from predictions.

Shapes: N tokens, V ids.
"""

import torch
from torch import Tensor


def draw(logp_NV: Tensor, quantile_N: Tensor) -> Tensor:
    """The id, int64 (N,), at which the cumulative probability passes a number in [0, 1); never one of probability 0."""
    cumulative_NV = logp_NV.double().exp().cumsum(1)
    target_N = quantile_N * cumulative_NV[:, -1]
    drawn_N = torch.searchsorted(cumulative_NV, target_N[:, None], right=True)[:, 0]
    return drawn_N.clamp_(max=logp_NV.shape[1] - 1)
