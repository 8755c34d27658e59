"""Gaussian process whose argmax is the uniform process.

Gaussian noise on one-hot vectors, w_t = a onehot(x_0) + s eps with a^2 + s^2 = 1 and eps ~ N(0, I) in V dimensions, has
an argmax with the distribution of the uniform process at some level alpha: x_0 is the argmax with some probability, and
the other ids share the remaining probability equally (Sahoo et al. 2025, "The diffusion duality", arXiv 2506.10892).

The time variable is gamma = ln(s^2 / a^2), the negative log of the signal-to-noise ratio. alpha decreases with gamma.

Shapes: any shape ..., V ids, K ids that are kept, R = K - 1 of them other than x_0, Q and G quadrature nodes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core.errors import check_within
from uddm_lightning.core.keyed_random import Stream, key, sample_without_replacement, uniform
from uddm_lightning.processes.schedules import NoiseLevel

# The integrand is analytic in a strip of half-width pi / 2 / sqrt(2 ln V) about the real line, 0.35 for 30,522 ids, and
# decays like a normal density: the error of the trapezoidal rule is of order exp(-2 pi 0.35 / STEP) = 1e-10.
QUADRATURE_LIMIT, STEP = 8.5, 0.1
GAMMA_LIMIT = 60.0  # beyond it alpha is 0 or 1 in float64 for every V
MIN_UNIFORM = 2.0**-54  # replaces 0, whose normal quantile is infinite


class TopValues(NamedTuple):
    """Coordinates of w_t: that of x_0 and the largest others.

    Attributes:
        ids: int64 (..., K), distinct; x_0 first, then other ids by decreasing coordinate.
        values: float64 (..., K), their coordinates of w_t.
    """

    ids: Tensor
    values: Tensor

    @property
    def argmax(self) -> Tensor:
        """z_t = argmax w_t, int64 (...), a sample of the uniform process."""
        return self.ids.gather(-1, self.values.argmax(-1, keepdim=True))[..., 0]


def amplitudes(gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Return the amplitudes a of the signal and s of the noise at `gamma`, float64."""
    gamma = gamma.double()
    return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()


def noise_level(gamma: Tensor, vocab_size: int) -> NoiseLevel:
    """Return the level alpha of the uniform process at `gamma` of any shape, with its slope d alpha / d gamma.

    Let mu = a / s. Divided by s, the coordinate of x_0 is mu + y, and it exceeds the V - 1 others with probability
      P(mu) = integral phi(y) Phi(mu + y)^(V - 1) dy,
      P'(mu) = integral y phi(y) Phi(mu + y)^(V - 1) dy (by parts),
    and alpha = (V P - 1) / (V - 1), d mu / d gamma = -mu / 2. The absolute error is about 1e-10.

    Example:
        >>> import torch
        >>> from uddm_lightning.objectives.gaussian_duality import noise_level
        >>> noise_level(torch.tensor([-3.5, -1.75]), vocab_size=30522).alpha
        tensor([0.9417, 0.0487], dtype=torch.float64)
    """
    V, mu = vocab_size, torch.exp(-0.5 * gamma.double())
    y_Q = _nodes(mu.device)
    argmax_Q = STEP * _normal(y_Q) * torch.exp((V - 1) * torch.special.log_ndtr(mu[..., None] + y_Q))
    alpha = (V * argmax_Q.sum(-1) - 1.0) / (V - 1)
    return NoiseLevel(alpha=alpha, slope=(argmax_Q * y_Q).sum(-1) * (-0.5 * V / (V - 1)) * mu)


def gamma_from_alpha(alpha: float, vocab_size: int) -> float:
    """Return the gamma with level `alpha`, the inverse of `noise_level`, by bisection.

    Args:
        alpha: level in (0, 1).
        vocab_size: V, number of ids.

    Raises:
        ValueError: `alpha` is not in (0, 1).

    Example:
        >>> from uddm_lightning.objectives.gaussian_duality import gamma_from_alpha
        >>> round(gamma_from_alpha(0.942, vocab_size=30522), 2)
        -3.5
    """
    check_within("(0, 1)", alpha=alpha)
    low, high = -GAMMA_LIMIT, GAMMA_LIMIT
    while low < (middle := 0.5 * (low + high)) < high:
        above = float(noise_level(torch.tensor(middle, dtype=torch.float64), vocab_size).alpha) > alpha
        low, high = (middle, high) if above else (low, middle)
    return middle


def sample_top_values(x0: Tensor, gamma: Tensor, keys: Tensor, vocab_size: int, top_k: int) -> TopValues:
    """Draw the coordinate of x_0 in w_t and the K - 1 largest other coordinates, without drawing all V.

    The other V - 1 coordinates are independent and normal. Their order statistics are drawn in decreasing order, each
    as the normal quantile of a power of a uniform number, and assigned to random distinct ids. Drawing V numbers per
    token would cost more than a network evaluation.

    Args:
        x0: int64 clean ids (...).
        gamma: negative log signal-to-noise ratios (...).
        keys: int64 noise keys (...), one per token.
        vocab_size: V, number of ids.
        top_k: K, at least 2. Values above V mean V. The cost grows with the square of K.

    Example:
        >>> import torch
        >>> from uddm_lightning.objectives.gaussian_duality import gaussian_keys, sample_top_values
        >>> x0_BL, keys_BL = torch.tensor([[3, 1, 4]]), gaussian_keys(torch.tensor([0]), length=3)
        >>> top = sample_top_values(x0_BL, torch.full((1, 3), -2.0), keys_BL, vocab_size=27, top_k=4)
        >>> top.ids.shape
        torch.Size([1, 3, 4])
        >>> top.argmax
        tensor([[15,  1,  4]])
    """
    K = min(top_k, vocab_size)
    a, s = amplitudes(gamma)
    uniform_K = uniform(keys[..., None], torch.arange(K, device=x0.device)).clamp(min=MIN_UNIFORM)
    # the largest of m uniform numbers is u^(1 / m) with uniform u; the others are m - 1 uniform numbers below it
    remaining_R = torch.arange(vocab_size - 1, vocab_size - K, -1, device=x0.device)
    log_R = (uniform_K[..., 1:].log() / remaining_R).cumsum(-1)
    largest_R = -torch.special.ndtri(-torch.expm1(log_R))
    values_K = torch.cat([torch.special.ndtri(uniform_K[..., :1]), largest_R], -1) * s[..., None]
    values_K[..., 0] += a
    others_R = sample_without_replacement(K - 1, vocab_size - 1, key(keys, K))
    return TopValues(torch.cat([x0[..., None], others_R + (others_R >= x0[..., None])], -1), values_K)


def gaussian_keys(keys_B: Tensor, length: int) -> Tensor:
    """Return the noise keys (B, L) of `sample_top_values` for rows with noise keys (B,)."""
    return key(keys_B[:, None], Stream.GAUSSIAN, torch.arange(length, device=keys_B.device))


def dropped_weight_bound(gamma: float, tau: float, vocab_size: int, top_k: int) -> float:
    """Return an upper bound of the mean weight in softmax(w / tau) of the ids that `sample_top_values` drops.

    Let k = s / tau, z_1 the largest of the M = V - 1 normal numbers of the ids other than x_0, and z one of the rest.
    The weight of z is at most exp(-k (z_1 - z)). It is dropped if at least n = K - 2 of the other M - 2 lie between z
    and z_1. The probability of that is at most (M - 2)^n share^n / n!, where share = 1 - Phi(z) / Phi(z_1). The bound
    is the sum over the M - 1 ids of the mean over z_1 and z. It decreases with s, so it holds for all larger gamma.

    Args:
        gamma: smallest gamma.
        tau: temperature, above 0.
        vocab_size: V, number of ids.
        top_k: K, at least 2.

    Example:
        >>> from uddm_lightning.objectives.gaussian_duality import dropped_weight_bound
        >>> dropped_weight_bound(-3.5, tau=1e-3, vocab_size=30522, top_k=8) < 1e-6
        True
    """
    M, n = vocab_size - 1, top_k - 2
    if top_k >= vocab_size:
        return 0.0
    _, s = amplitudes(torch.tensor(gamma, dtype=torch.float64))
    top_Q1 = _nodes()[:, None]
    log_cdf_Q1 = torch.special.log_ndtr(top_Q1)
    weight_Q1 = M * _normal(top_Q1) * torch.exp((M - 1) * log_cdf_Q1) * STEP
    log_gap_G, step = torch.linspace(-27.0, 4.0, 401, dtype=torch.float64), 31.0 / 400
    gap_G = log_gap_G.exp()
    share_QG = -torch.expm1(torch.special.log_ndtr(top_Q1 - gap_G) - log_cdf_Q1)
    log_dropped_QG = n * torch.log((M - 2) * share_QG + 1e-300) - math.lgamma(n + 1)
    density_QG = _normal(top_Q1 - gap_G) * torch.exp(log_dropped_QG.clamp(max=0.0) - log_cdf_Q1)
    mean_Q = (density_QG * gap_G * torch.exp(-gap_G * (s / tau))).sum(1) * (step * (M - 1))
    return float(weight_Q1[:, 0] @ mean_Q)


def _nodes(device: torch.device | None = None) -> Tensor:
    """Return the nodes (Q,) of the trapezoidal rule."""
    return torch.linspace(
        -QUADRATURE_LIMIT, QUADRATURE_LIMIT, round(2 * QUADRATURE_LIMIT / STEP) + 1, dtype=torch.float64, device=device
    )


def _normal(z: Tensor) -> Tensor:
    """Return the standard normal density."""
    return torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
