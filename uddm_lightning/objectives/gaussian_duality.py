"""The uniform process as the argmax of a Gaussian one, and the clock that the two share.

Noise on one-hot vectors, w_t = a onehot(x_0) + s eps with a^2 + s^2 = 1 and eps normal in all V coordinates, has an
argmax that is distributed as the uniform process is at some level alpha: x_0 is largest with some probability, and the
other ids share the rest evenly (Sahoo et al. 2025, "The diffusion duality", arXiv 2506.10892).

Time is told by gamma = ln(s^2 / a^2), minus the log of the signal-to-noise ratio, so alpha falls where gamma rises.

Shapes: any shape ..., V ids, K of them kept, R = K - 1 rivals of x_0, Q and G nodes of quadratures.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core.keyed_random import Stream, key, sample_without_replacement, uniform
from uddm_lightning.processes.schedules import NoiseLevel

# The integrand is analytic in a strip of half-width pi / 2 / sqrt(2 ln V) about the real line, 0.35 for 30,522 ids, and
# falls off like a normal density: the error of the trapezoidal rule is of order exp(-2 pi 0.35 / STEP) = 1e-10.
REACH, STEP = 8.5, 0.1
GAMMA_REACH = 60.0  # beyond, no vocabulary has a level that differs from 0 or from 1
SMALLEST_UNIFORM = 2.0**-54  # in the place of 0, whose normal quantile is infinite


class TopValues(NamedTuple):
    """The largest coordinates of w_t, as far as they are kept.

    Attributes:
        ids: int64 (..., K), different from each other; x_0 first, then its rivals from the largest on.
        values: float64 (..., K), their coordinates w.
    """

    ids: Tensor
    values: Tensor

    @property
    def argmax(self) -> Tensor:
        """z_t, int64 (...), a draw of the uniform process."""
        return self.ids.gather(-1, self.values.argmax(-1, keepdim=True))[..., 0]


def amplitudes(gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Of signal and noise, a and s, at `gamma`; float64."""
    gamma = gamma.double()
    return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()


def level(gamma: Tensor, vocab_size: int) -> NoiseLevel:
    """Level alpha of the uniform process at `gamma`, any shape, with its slope d alpha / d gamma.

    With mu = a / s and all coordinates divided by s, x_0 at mu + y beats its V - 1 rivals with probability
      P(mu) = integral phi(y) Phi(mu + y)^(V - 1) dy,
      P'(mu) = integral y phi(y) Phi(mu + y)^(V - 1) dy (by parts),
    and alpha = (V P - 1) / (V - 1), d mu / d gamma = -mu / 2. Absolute error about 1e-10.
    """
    V, mu = vocab_size, torch.exp(-0.5 * gamma.double())
    y_Q = _nodes(mu.device)
    wins_Q = STEP * _normal(y_Q) * torch.exp((V - 1) * torch.special.log_ndtr(mu[..., None] + y_Q))
    alpha = (V * wins_Q.sum(-1) - 1.0) / (V - 1)
    return NoiseLevel(alpha=alpha, slope=(wins_Q * y_Q).sum(-1) * (-0.5 * V / (V - 1)) * mu)


def gamma_at(alpha: float, vocab_size: int) -> float:
    """The gamma at which the uniform process is at a level, by bisection.

    Args:
        alpha: level in (0, 1).
        vocab_size: V.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"`alpha` must lie strictly between 0 and 1, got {alpha}.")
    low, high = -GAMMA_REACH, GAMMA_REACH
    while low < (middle := 0.5 * (low + high)) < high:
        above = float(level(torch.tensor(middle, dtype=torch.float64), vocab_size).alpha) > alpha
        low, high = (middle, high) if above else (low, middle)
    return middle


def leaders(x0: Tensor, gamma: Tensor, keys: Tensor, vocab_size: int, kept: int) -> TopValues:
    """Draws w_t, of which only x_0 and the largest of its rivals are ever made.

    The V - 1 rivals are normal and independent, so their largest can be drawn one after another, each as the quantile
    of a power of a uniform number, and handed to any ids. V random numbers a token would cost more than a network.

    Args:
        x0: clean ids (...).
        gamma: (...).
        keys: noise keys (...), one for each token.
        vocab_size: V.
        kept: K >= 2; V or more keeps all, and the work grows with its square.
    """
    K = min(kept, vocab_size)
    a, s = amplitudes(gamma)
    uniform_K = uniform(keys[..., None], torch.arange(K, device=x0.device)).clamp(min=SMALLEST_UNIFORM)
    # the largest of m uniform numbers is a power 1 / m of one; what lies below it is m - 1 uniform numbers again
    remaining_R = torch.arange(vocab_size - 1, vocab_size - K, -1, device=x0.device)
    log_R = (uniform_K[..., 1:].log() / remaining_R).cumsum(-1)
    rivals_R = -torch.special.ndtri(-torch.expm1(log_R))
    values_K = torch.cat([torch.special.ndtri(uniform_K[..., :1]), rivals_R], -1) * s[..., None]
    values_K[..., 0] += a
    others_R = sample_without_replacement(K - 1, vocab_size - 1, key(keys, K))
    return TopValues(torch.cat([x0[..., None], others_R + (others_R >= x0[..., None])], -1), values_K)


def token_keys(keys_B: Tensor, length: int) -> Tensor:
    """Keys (B, L) of `leaders` for the tokens of rows."""
    return key(keys_B[:, None], Stream.GAUSSIAN, torch.arange(length, device=keys_B.device))


def neglected(gamma: float, tau: float, vocab_size: int, kept: int) -> float:
    """Bounds the mean share of softmax(w / tau) over all V ids that falls on those which `leaders` drops.

    With k = s / tau, z_1 the largest of the M = V - 1 normal numbers of the rivals and z that of another, its weight is
    at most exp(-k (z_1 - z)). It is dropped if at least n = K - 2 of the M - 2 others lie between the two, which has a
    probability of at most (M - 2)^n share^n / n!, where share = 1 - Phi(z) / Phi(z_1). The bound is the sum over the
    rivals, in the mean over z_1 and z. It falls with s, so it holds for all larger gamma, too.

    Args:
        gamma: smallest gamma.
        tau: temperature, above 0.
        vocab_size: V.
        kept: K >= 2.
    """
    M, n = vocab_size - 1, kept - 2
    if kept >= vocab_size:
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
    return torch.linspace(-REACH, REACH, round(2 * REACH / STEP) + 1, dtype=torch.float64, device=device)


def _normal(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
