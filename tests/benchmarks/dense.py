"""The published formulas in plain PyTorch, on dense tensors of batch, length and vocabulary.

They are the baseline of every comparison and are not optimized: no chunks, no closed-form gradients, no checkpointing.

Shapes: B rows, L positions, V ids.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def nelbo(logits_BLV: Tensor, x0_BL: Tensor, xt_BL: Tensor, alpha_B: Tensor, slope_B: Tensor) -> Tensor:
    """Loss of every token (B, L), in nats (Sahoo et al. 2025, arXiv 2506.10892), in the dtype of the logits."""
    V = logits_BLV.shape[-1]
    alpha_B11, slope_B1 = alpha_B.to(logits_BLV.dtype)[:, None, None], slope_B.to(logits_BLV.dtype)[:, None]
    p_BLV = torch.softmax(logits_BLV, -1)
    xbar_BLV = V * alpha_B11 * F.one_hot(x0_BL, V) + 1 - alpha_B11
    xbar_p_BLV = V * alpha_B11 * p_BLV + 1 - alpha_B11
    xbar_i_BL1 = xbar_BLV.gather(-1, xt_BL[..., None])
    xbar_p_i_BL1 = xbar_p_BLV.gather(-1, xt_BL[..., None])
    ratio_BLV = xbar_BLV / xbar_i_BL1
    summed_BL = (ratio_BLV * torch.log(xbar_p_i_BL1 / xbar_p_BLV * ratio_BLV)).sum(-1)
    bracket_BL = V / xbar_i_BL1[..., 0] - V / xbar_p_i_BL1[..., 0] - summed_BL
    return slope_B1 / (V * alpha_B11[..., 0]) * bracket_BL


def nelbo_by_sums(logits_BLV: Tensor, x0_BL: Tensor, xt_BL: Tensor, alpha_B: Tensor, slope_B: Tensor) -> Tensor:
    """Loss of every token (B, L) as in `nelbo`, with fewer dense tensors, as the public code of Duo computes it.

    The ratios xbar_j / xbar_i have one value at j = x0 and another one elsewhere, so that the sum over j needs only the
    sum of the logarithms.
    """
    V = logits_BLV.shape[-1]
    alpha_B1, slope_B1 = (values_B.to(logits_BLV.dtype)[:, None] for values_B in (alpha_B, slope_B))
    log_BLV = torch.log(V * alpha_B1[..., None] * torch.softmax(logits_BLV, -1) + 1 - alpha_B1[..., None])
    log_x0_BL, log_xt_BL = (log_BLV.gather(-1, ids_BL[..., None])[..., 0] for ids_BL in (x0_BL, xt_BL))
    low_B1, high_B1 = 1 - alpha_B1, V * alpha_B1 + 1 - alpha_B1
    xbar_i_BL = torch.where(x0_BL == xt_BL, high_B1, low_B1)
    low_BL, high_BL = low_B1 / xbar_i_BL, high_B1 / xbar_i_BL
    summed_BL = (
        ((V - 1) * low_BL + high_BL) * log_xt_BL
        - low_BL * (log_BLV.sum(-1) - log_x0_BL)
        - high_BL * log_x0_BL
        + (V - 1) * low_BL * low_BL.log()
        + high_BL * high_BL.log()
    )
    bracket_BL = V / xbar_i_BL - V * torch.exp(-log_xt_BL) - summed_BL
    return slope_B1 / (V * alpha_B1) * bracket_BL


def posterior(logits_BLV: Tensor, xt_BL: Tensor, alpha_s: Tensor, alpha_t: Tensor) -> Tensor:
    """q(x_s | x_t, p), float64 (B, L, V)."""
    V = logits_BLV.shape[-1]
    p_BLV = torch.softmax(logits_BLV.double(), -1)
    xt_BLV = F.one_hot(xt_BL, V).double()
    alpha_ts = alpha_t / alpha_s
    numerator_BLV = (
        alpha_t * V * p_BLV * xt_BLV
        + (alpha_ts - alpha_t) * xt_BLV
        + (alpha_s - alpha_t) * p_BLV
        + (1 - alpha_ts) * (1 - alpha_s) / V
    )
    return numerator_BLV / (alpha_t * V * p_BLV.gather(-1, xt_BL[..., None]) + 1 - alpha_t)


def reverse_step(logits_BLV: Tensor, xt_BL: Tensor, alpha_s: Tensor, alpha_t: Tensor) -> Tensor:
    """Draw x_s (B, L) from the dense posterior, by the smallest of exponential times."""
    q_BLV = posterior(logits_BLV, xt_BL, alpha_s, alpha_t)
    return (q_BLV / torch.empty_like(q_BLV).exponential_()).argmax(-1)


def cross_entropy(logits_BLV: Tensor, x0_BL: Tensor) -> Tensor:
    """-ln p(x_0) of every token (B, L)."""
    return -torch.log_softmax(logits_BLV, -1).gather(-1, x0_BL[..., None])[..., 0]


def entropy(logits_BLV: Tensor) -> Tensor:
    """Entropy of every prediction (B, L), in nats."""
    logp_BLV = torch.log_softmax(logits_BLV, -1)
    return -(logp_BLV.exp() * logp_BLV).sum(-1)
