"""The uniform process: a token that noise touches is redrawn from the whole vocabulary."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import Noised
from uddm_lightning.core.keyed_random import Stream, integers, key, uniform
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.categorical import draw
from uddm_lightning.processes.parameterization import Parameterization
from uddm_lightning.processes.schedules import Schedule
from uddm_lightning.processes.uniform_nelbo import LossAndGradient, UniformNelbo, closed_term, loss_and_gradient


class UniformProcess(Process):
    """q(x_t | x_0) = Cat(alpha_t onehot(x_0) + (1 - alpha_t) / V), token by token.

    A touched token may be redrawn as itself, so a share (1 - alpha_t) (1 - 1 / V) of the tokens is really changed.

    Source: Austin et al. 2021 (D3PM); Schiff et al. 2024, arXiv 2412.10193 (UDLM); Sahoo et al. 2025, arXiv 2506.10892.
    """

    def __init__(self, vocab_size: int, schedule: Schedule) -> None:
        super().__init__(vocab_size, schedule)
        self._both: LossAndGradient = loss_and_gradient

    @override
    def compile(self) -> None:
        self._both = torch.compile(loss_and_gradient, dynamic=True)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_both": loss_and_gradient}  # what is compiled can be neither copied nor pickled

    @override
    def corrupt(self, x0_BL: Tensor, t_B: Tensor, keys_B: Tensor, valid_BL: Tensor | None = None) -> Noised:
        level = self.level(t_B)
        keys_BL = key(keys_B[:, None], Stream.CORRUPTION, torch.arange(x0_BL.shape[1], device=x0_BL.device))
        whether_BL, what_BL = uniform(keys_BL, torch.arange(2, device=x0_BL.device)[:, None, None])
        touched_BL = whether_BL >= level.alpha[:, None]
        if valid_BL is not None:
            touched_BL &= valid_BL
        xt_BL = torch.where(touched_BL, what_BL.mul_(self.vocab_size).long(), x0_BL)
        return Noised(x0_BL, xt_BL, t_B, level.alpha, level.slope, valid_BL)

    @override
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, prediction: Parameterization
    ) -> Tensor:
        # p(x_0 | x_t) is proportional to p_l * q(x_t | x_0): divide out what the token at l itself says,
        # a factor (V alpha + 1 - alpha) / (1 - alpha) in favour of x_0 = x_t.
        if prediction is Parameterization.POSTERIOR:
            evidence_N = torch.log((self.vocab_size * alpha_N + 1.0 - alpha_N) / (1.0 - alpha_N))
            logits_NV = logits_NV.scatter_add(1, xt_N[:, None], -evidence_N.to(logits_NV.dtype)[:, None])
        return logits_NV

    @override
    def nelbo(self, logp_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor) -> Tensor:
        # With a = V alpha, b = 1 - alpha, xbar = a onehot(x_0) + b, xbar_p = a p + b and i = x_t:
        #   slope / a [V / xbar_i - V / xbar_p_i - sum_j xbar_j / xbar_i ln(xbar_p_i / xbar_p_j xbar_j / xbar_i)]
        # (Duo, arXiv 2506.10892). xbar takes two values only and sums to V, so that the sum over j reduces to one sum
        # of ln xbar_p_j and closed terms.
        V = self.vocab_size
        a_N, b_N = V * alpha_N, 1.0 - alpha_N
        clean_N = xt_N == x0_N
        xbar_i_N = torch.where(clean_N, a_N + b_N, b_N)
        closed_N = closed_term(V, a_N, b_N, xbar_i_N)

        dtype = logp_NV.dtype
        a, b, xbar_i = a_N.to(dtype), b_N.to(dtype), xbar_i_N.to(dtype)
        xbar_p_NV = a[:, None] * logp_NV.exp() + b[:, None]
        log_NV = xbar_p_NV.log()
        xbar_p_i = xbar_p_NV.gather(1, xt_N[:, None])[:, 0]
        log_i = log_NV.gather(1, xt_N[:, None])[:, 0]
        log_0 = log_NV.gather(1, x0_N[:, None])[:, 0]
        summed = (V * log_i - b * log_NV.sum(1) - a * log_0) / xbar_i + closed_N.to(dtype)
        return (slope_N / a_N).to(dtype) * (V / xbar_i - V / xbar_p_i - summed)

    @override
    def nelbo_of_logits(
        self,
        logits_NV: Tensor,
        x0_N: Tensor,
        xt_N: Tensor,
        alpha_N: Tensor,
        slope_N: Tensor,
        prediction: Parameterization,
    ) -> Tensor:
        if prediction is not Parameterization.LEAVE_ONE_OUT:
            return super().nelbo_of_logits(logits_NV, x0_N, xt_N, alpha_N, slope_N, prediction)
        loss_N: Tensor = UniformNelbo.apply(self._both, logits_NV, x0_N, xt_N, alpha_N, slope_N)  # type: ignore[no-untyped-call]  # as torch has it
        return loss_N

    @override
    def posterior(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        # (alpha_t V p[x_t] + alpha_ts - alpha_t) onehot(x_t) + (alpha_s - alpha_t) p + (1 - alpha_ts)(1 - alpha_s) / V
        alpha_ts_N = alpha_t_N / alpha_s_N
        p_NV = logp_NV.exp()
        p_i_N = p_NV.gather(1, xt_N[:, None])[:, 0]
        stay_N = alpha_t_N * self.vocab_size * p_i_N + alpha_ts_N - alpha_t_N
        weights_NV = (alpha_s_N - alpha_t_N)[:, None] * p_NV
        weights_NV = weights_NV + ((1.0 - alpha_ts_N) * (1.0 - alpha_s_N) / self.vocab_size)[:, None]
        weights_NV = weights_NV.scatter_add(1, xt_N[:, None], stay_N.to(weights_NV.dtype)[:, None])
        return weights_NV / (alpha_t_N * self.vocab_size * p_i_N + 1.0 - alpha_t_N)[:, None]

    @override
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        # The reverse posterior is a mixture of three simple choices whose weights sum to its normaliser:
        #   stay at x_t     alpha_t V p[x_t] + alpha_ts - alpha_t
        #   jump to p       alpha_s - alpha_t
        #   scatter         (1 - alpha_ts) (1 - alpha_s)
        alpha_ts_N = alpha_t_N / alpha_s_N
        p_i_N = logp_NV.gather(1, xt_N[:, None])[:, 0].double().exp()
        jump_N = alpha_s_N - alpha_t_N
        scatter_N = (1.0 - alpha_ts_N) * (1.0 - alpha_s_N)
        stay_N = alpha_t_N * self.vocab_size * p_i_N + alpha_ts_N - alpha_t_N
        # moves come first on the unit interval: near t = 0 they are rare, and there float64 is finest
        place_N = uniform(keys_N, 0) * (jump_N + scatter_N + stay_N)
        moved_N = torch.nonzero(place_N < jump_N + scatter_N)[:, 0]
        xs_N = xt_N.clone()
        if len(moved_N) == 0:
            return xs_N
        keys_M = keys_N[moved_N]
        drawn_M = draw(logp_NV[moved_N], uniform(keys_M, 1))
        scattered_M = integers(self.vocab_size, keys_M, 2)
        xs_N[moved_N] = torch.where(place_N[moved_N] < jump_N[moved_N], drawn_M, scattered_M)
        return xs_N

    @override
    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        # `step` with p[x_t] = 0, where staying weighs least; the same operations, so that rounding cannot part the two
        alpha_ts_N = alpha_t_N / alpha_s_N
        moves_N = alpha_s_N - alpha_t_N + (1.0 - alpha_ts_N) * (1.0 - alpha_s_N)
        return uniform(keys_N, 0) * (moves_N + (alpha_ts_N - alpha_t_N)) < moves_N

    @override
    def argmax_step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        alpha_ts_N = alpha_t_N / alpha_s_N
        p_i_N = logp_NV.gather(1, xt_N[:, None])[:, 0].double().exp()
        stay_N = alpha_t_N * self.vocab_size * p_i_N + alpha_ts_N - alpha_t_N
        others_NV = logp_NV.scatter(1, xt_N[:, None], float("-inf"))
        best_N, id_N = others_NV.max(1)
        jump_N = alpha_s_N - alpha_t_N
        return torch.where(stay_N + jump_N * p_i_N >= jump_N * best_N.double().exp(), xt_N, id_N)

    @override
    def chance(self, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, unigram_V: Tensor) -> Tensor:
        # f(x_0) (1 - alpha) / V / (alpha f(x_t) + (1 - alpha) / V), for x_t != x_0
        scattered_N = (1.0 - alpha_N) / self.vocab_size
        kept_N = torch.where(x0_N == xt_N, alpha_N, torch.zeros_like(alpha_N))
        return unigram_V[x0_N] * (kept_N + scattered_N) / (alpha_N * unigram_V[xt_N] + scattered_N)
