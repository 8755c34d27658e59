"""The hybrid process: noise replaces tokens by a mask token or by uniform random ids."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.devices import replace_where
from uddm_lightning.core.errors import check_within
from uddm_lightning.core.keyed_random import integers, uniform
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.categorical import sample_categorical
from uddm_lightning.processes.schedules import NoiseLevel, Schedule

SMALLEST_P_UNIFORM = math.exp(-20.0)  # of GIDD: every id stays possible, so that the NELBO is finite


class NoiseMass(NamedTuple):
    """Probabilities of the two kinds of noise at a signal level alpha, and the odds of the mask, float64.

    Attributes:
        mask: probability of the mask token, alpha g^2.
        uniform: probability of a uniform random id, alpha B g.
        root: g = sqrt(t / (1 - t)).
    """

    mask: Tensor
    uniform: Tensor
    root: Tensor


class HybridProcess(Process):
    """Hybrid process: q(x_t | x_0) = Cat(alpha_t onehot(x_0) + (t onehot(mask) + c_t / V) / C_t), per token.

    Here c_t = B sqrt(t (1 - t)), C_t = 1 + c_t, alpha_t = (1 - t) / C_t and B = 2 p_u / (1 - p_u). At t = 1/2 a
    fraction p_u of all tokens is uniform noise. The mask token is id V, and uniform noise never draws it. The network
    receives t in place of -ln alpha_t.

    The schedule s sets the clock: t here is 1 - s(t). With `LogLinearSchedule` they agree up to its `eps`, which keeps
    the times below 1, as `t_eps` of GIDD does.

    A network that is trained by the NELBO predicts leave-one-out; see `ReweightedNELBO` for the loss of GIDD.

    Source: von Rütte et al. 2025, arXiv 2503.04482 (GIDD).

    Args:
        vocab_size: V, number of ids without the mask token, at least 2.
        schedule: noise schedule, which sets the clock.
        p_uniform: p_u, in [0, 1).

    Raises:
        ValueError: `vocab_size` is below 2, or `p_uniform` is not in [0, 1).

    Example:
        >>> import torch
        >>> from uddm_lightning.processes import HybridProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process = HybridProcess(27, LogLinearSchedule(), p_uniform=0.5)
        >>> process.mask_id, process.num_states
        (27, 28)
        >>> process.level(torch.tensor(0.5)).alpha
        tensor(0.2503, dtype=torch.float64)
        >>> x0_BL, keys_B = torch.arange(10)[None], torch.tensor([0])
        >>> process.corrupt(x0_BL, torch.tensor([0.5]), keys_B).xt_BL
        tensor([[27, 25, 12,  1, 24,  5, 24, 27,  8, 17]])
    """

    def __init__(self, vocab_size: int, schedule: Schedule, p_uniform: float = 0.1) -> None:
        super().__init__(vocab_size, schedule)
        check_within("[0, 1)", p_uniform=p_uniform)
        self.p_uniform = p_uniform
        share = max(p_uniform, SMALLEST_P_UNIFORM)
        self.scale = 2.0 * share / (1.0 - share)  # B

    @property
    @override
    def mask_id(self) -> int:
        return self.vocab_size

    @override
    def sample_prior(self, uniform_BL: Tensor) -> Tensor:
        return torch.full_like(uniform_BL, self.mask_id)

    @override
    def change_probability(self, alpha: Tensor) -> Tensor:
        return 1.0 - alpha - self.noise_mass(alpha).uniform / self.vocab_size

    @override
    def level(self, t: Tensor) -> NoiseLevel:
        # 1 / alpha = 1 + g^2 + B g with g^2 = (1 - s) / s; d g / d t = -slope of s / (2 g s^2)
        signal, slope = self.schedule(t)
        root = torch.sqrt((1.0 - signal) / signal)
        alpha = 1.0 / (1.0 + root * (root + self.scale))
        return NoiseLevel(alpha, alpha**2 * (slope / signal**2) * (1.0 + self.scale / (2.0 * root)))

    def noise_mass(self, alpha: Tensor) -> NoiseMass:
        """Return the probabilities of noise at signal levels `alpha` in (0, 1] of any shape."""
        odds = (1.0 - alpha) / alpha
        root = 2.0 * odds / (self.scale + torch.sqrt(self.scale**2 + 4.0 * odds))
        return NoiseMass(alpha * root**2, alpha * self.scale * root, root)

    @override
    def noise_input(self, alpha: Tensor) -> Tensor:
        odds = self.noise_mass(alpha).root ** 2
        return odds / (1.0 + odds)

    @override
    def draw_noise(self, keys_BL: Tensor, alpha_B: Tensor) -> tuple[Tensor, Tensor]:
        # the first two random numbers are those of the uniform process, so that both touch the same tokens
        mass = self.noise_mass(alpha_B[:, None])
        quantile_BL, id_BL, kind_BL = uniform(keys_BL, torch.arange(3, device=keys_BL.device)[:, None, None])
        is_mask_BL = kind_BL * (mass.mask + mass.uniform) < mass.mask
        return quantile_BL, id_BL.mul_(self.vocab_size).long().masked_fill(is_mask_BL, self.mask_id)

    @override
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, parameterization: Parameterization
    ) -> Tensor:
        logits_NV = logits_NV[:, : self.vocab_size]  # x_0 is never the mask
        if parameterization is Parameterization.LEAVE_ONE_OUT:
            return logits_NV
        log_factor_N = self._log_ratio(xt_N, alpha_N)
        if parameterization is Parameterization.REWEIGHTED:  # loss weights that depend on [x_0 = x_t]
            log_factor_N = log_factor_N + torch.where(xt_N == self.mask_id, 0.0, self.own_weight(alpha_N).log())
        return logits_NV.scatter_add(1, self._shown(xt_N), -log_factor_N.to(logits_NV.dtype)[:, None])

    @override
    def posterior_logits(self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor) -> Tensor:
        log_ratio_N1 = self._log_ratio(xt_N, alpha_N).to(logits_NV.dtype)[:, None]
        return logits_NV[:, : self.vocab_size].scatter_add(1, self._shown(xt_N), log_ratio_N1)

    def _log_ratio(self, xt_N: Tensor, alpha_N: Tensor) -> Tensor:
        """Return ln q(x_t | x_0 = x_t) / q(x_t | x_0 = v) for any other id v; 0 at a mask, which every v may become."""
        noise_N = self.noise_mass(alpha_N).uniform / self.vocab_size
        return torch.where(xt_N == self.mask_id, 0.0, torch.log1p(alpha_N / noise_N))

    def _shown(self, xt_N: Tensor) -> Tensor:
        """Return the ids (N, 1) as indices into the vocabulary; the value at a mask is not used."""
        return xt_N.clamp(max=self.vocab_size - 1)[:, None]

    def own_weight(self, alpha: Tensor) -> Tensor:
        """Return the weight of a token with x_t = x_0 in the loss of GIDD; it is 1 for other ids and 2 for a mask.

        It is B / V sqrt((1 - alpha) / alpha), at most 1 (von Rütte et al. 2025, "dynamic" weights).
        """
        return (self.scale / self.vocab_size * torch.sqrt((1.0 - alpha) / alpha)).clamp(max=1.0)

    @override
    def nelbo(self, logp_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        # rate of noise into x_t, divided by q(x_t | x_0), times the divergence (von Rütte et al. 2025). With g as in
        # `level`, a token becomes the mask at rate -slope / alpha 2 g / (2 g + B), and each id at rate
        # -slope / alpha B / (2 g + B) / V.
        x0_N, xt_N, alpha_N, slope_N = tokens
        mass = self.noise_mass(alpha_N)
        whole_N = -slope_N / alpha_N / (2.0 * mass.root + self.scale)
        noise_N = mass.uniform / self.vocab_size
        into_id_N = whole_N * self.scale / self.vocab_size / torch.where(xt_N == x0_N, alpha_N + noise_N, noise_N)
        weight_N = torch.where(xt_N == self.mask_id, whole_N * 2.0 * mass.root / mass.mask, into_id_N)
        return weight_N.to(logp_NV.dtype) * self.divergence(logp_NV, x0_N, xt_N, alpha_N)

    def divergence(self, logp_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor) -> Tensor:
        """Return KL(q || q_p) + r - ln r - 1 per token, in nats (N,).

        q = q(x_t | x_0), q_p is its mean over x_0 ~ p, and r = q[x_t] / q_p[x_t] (Itakura-Saito divergence).

        Args:
            logp_NV: leave-one-out log-probabilities p.
            x0_N: int64 clean ids.
            xt_N: int64 noisy ids.
            alpha_N: float64 signal levels alpha_t.
        """
        dtype, V = logp_NV.dtype, self.vocab_size
        noise_N = self.noise_mass(alpha_N).uniform / V
        a, b, known = alpha_N.to(dtype), noise_N.to(dtype), (alpha_N + noise_N).to(dtype)
        log_NV = torch.log(a[:, None] * logp_NV.exp() + b[:, None])
        log_0 = log_NV.gather(1, x0_N[:, None])[:, 0]
        kl_N = b * (V * b.log() - log_NV.sum(1)) + known * known.log() - b * b.log() - a * log_0
        log_q = torch.where(xt_N == x0_N, known, b).log()
        log_r = log_q - log_NV.gather(1, self._shown(xt_N))[:, 0]
        return kl_N + torch.where(xt_N == self.mask_id, 0.0, torch.expm1(log_r) - log_r)

    def _step_weights(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> tuple[Tensor, NoiseMass, Tensor]:
        """Return the ratio alpha_t / alpha_s, the noise at s and the probability that noise after s draws x_t."""
        at_s, at_t = self.noise_mass(alpha_s_N), self.noise_mass(alpha_t_N)
        # q(x_t | x_s): alpha_t / alpha_s at x_s, alpha_t (g_t^2 - g_s^2) at the mask, alpha_t B (g_t - g_s) at all ids
        apart_N = at_t.root - at_s.root
        into_N = torch.where(xt_N == self.mask_id, at_t.root + at_s.root, self.scale / self.vocab_size)
        return alpha_t_N / alpha_s_N, at_s, alpha_t_N * apart_N * into_N

    @override
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        # q(x_s | x_t, p) is a mixture, with weights up to a constant of each token and h the probability that noise
        # after s draws x_t:
        #   p              jump      h alpha_s
        #   onehot(mask)   mask      h q(mask at s)
        #   1 / V          scatter   h q(uniform at s)
        #   onehot(x_t)    stay      alpha_ts (alpha_s p + noise at s)[x_t]
        alpha_ts_N, at_s, into_N = self._step_weights(xt_N, alpha_s_N, alpha_t_N)
        is_mask_N = xt_N == self.mask_id
        p_i_N = logp_NV.gather(1, self._shown(xt_N))[:, 0].double().exp()
        clean_N = torch.where(is_mask_N, 0.0, alpha_s_N * p_i_N)
        stay_N = alpha_ts_N * (clean_N + torch.where(is_mask_N, at_s.mask, at_s.uniform / self.vocab_size))
        # moves come first on the unit interval, as in the uniform process
        position_N = uniform(keys_N, 0) * (into_N + stay_N)

        def draw(some: Tensor | slice) -> Tensor:
            part_M = position_N[some] / into_N[some]  # uniform on [0, 1)
            jumped_M = sample_categorical(logp_NV[some], uniform(keys_N[some], 1))
            noise_M = torch.where(
                part_M < (alpha_s_N + at_s.mask)[some], self.mask_id, integers(self.vocab_size, keys_N[some], 2)
            )
            jumps_M = (part_M < alpha_s_N[some]) | (alpha_s_N[some] == 1.0)
            return torch.where(jumps_M, jumped_M, noise_M)

        return replace_where(position_N < into_N, draw, xt_N)

    @override
    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        # `step` with p[x_t] = 0, the smallest weight of staying; the same operations, so that rounding is the same
        alpha_ts_N, at_s, into_N = self._step_weights(xt_N, alpha_s_N, alpha_t_N)
        stay_N = alpha_ts_N * torch.where(xt_N == self.mask_id, at_s.mask, at_s.uniform / self.vocab_size)
        return uniform(keys_N, 0) * (into_N + stay_N) < into_N

    @override
    def argmax_step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        alpha_ts_N, at_s, into_N = self._step_weights(xt_N, alpha_s_N, alpha_t_N)
        at_s_NV = alpha_s_N[:, None] * logp_NV.double().exp() + (at_s.uniform / self.vocab_size)[:, None]
        at_s_NS = torch.cat([at_s_NV, at_s.mask[:, None]], 1)
        own_N1 = at_s_NS.gather(1, xt_N[:, None])
        return (into_N[:, None] * at_s_NS).scatter_add(1, xt_N[:, None], alpha_ts_N[:, None] * own_N1).argmax(1)

    @override
    def chance(self, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, unigram_V: Tensor) -> Tensor:
        # Bayes with frequencies f, as in the uniform process; a mask says nothing about x_0
        noise_N = self.noise_mass(alpha_N).uniform / self.vocab_size
        right_N = torch.where(x0_N == xt_N, alpha_N, 0.0) + noise_N
        share_N = right_N / (alpha_N * unigram_V[self._shown(xt_N)[:, 0]] + noise_N)
        return unigram_V[x0_N] * torch.where(xt_N == self.mask_id, 1.0, share_N)

    @override
    def bayes_argmax(self, logits_NV: Tensor, xt_N: Tensor) -> Tensor:
        logits_NS = F.pad(logits_NV.double(), (0, 1), value=-torch.inf).scatter(1, xt_N[:, None], -torch.inf)
        return logits_NS.log_softmax(1).amax(1).exp()
