"""The uniform process: noise replaces tokens by uniform random ids of the vocabulary."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.devices import replace_where
from uddm_lightning.core.gradients import LossAndGradient, at_least_float32, round_gradient
from uddm_lightning.core.keyed_random import integers, uniform
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import fused
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.categorical import sample_categorical
from uddm_lightning.processes.schedules import Schedule
from uddm_lightning.processes.uniform_nelbo import (
    ClosedForm,
    UniformNelbo,
    constant_term,
    fused_loss_and_gradient,
    loss_and_gradient,
)


class UniformProcess(Process):
    """Uniform-state process: q(x_t | x_0) = Cat(alpha_t onehot(x_0) + (1 - alpha_t) / V), independently per token.

    The random id may equal the clean one, so x_t differs from x_0 with probability (1 - alpha_t) (1 - 1 / V).

    Source: Austin et al. 2021, arXiv 2107.03006 (D3PM); Schiff et al. 2024, arXiv 2412.10193 (UDLM); Sahoo et al. 2025,
    arXiv 2506.10892 (Duo).

    Args:
        vocab_size: V, number of ids, at least 2.
        schedule: noise schedule.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process = UniformProcess(27, LogLinearSchedule())
        >>> noised = process.corrupt(torch.arange(10)[None], torch.tensor([0.5]), torch.tensor([0]))
        >>> noised.xt_BL
        tensor([[ 3, 25,  2,  3, 24,  5, 24, 14,  8, 17]])
        >>> logp_NV, tokens = torch.full((10, 27), 1 / 27).log(), noised.tokens
        >>> process.nelbo(logp_NV, tokens).shape
        torch.Size([10])
        >>> process.step(logp_NV, tokens.xt_N, tokens.alpha_N + 0.1, tokens.alpha_N, torch.arange(10))
        tensor([ 3,  1,  2,  3, 24,  5,  2, 14,  8, 17])
    """

    def __init__(self, vocab_size: int, schedule: Schedule) -> None:
        super().__init__(vocab_size, schedule)
        self._loss_and_gradient: ClosedForm = loss_and_gradient

    @override
    def compile(self) -> None:
        self._loss_and_gradient = torch.compile(loss_and_gradient, dynamic=True)

    @override
    def __getstate__(self) -> dict[str, Any]:
        # a compiled function can be neither copied nor pickled
        return {**self.__dict__, "_loss_and_gradient": loss_and_gradient}

    @override
    def draw_noise(self, keys_BL: Tensor, alpha_B: Tensor) -> tuple[Tensor, Tensor]:
        quantile_BL, id_BL = uniform(keys_BL, torch.arange(2, device=keys_BL.device)[:, None, None])
        return quantile_BL, id_BL.mul_(self.vocab_size).long()

    @override
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, parameterization: Parameterization
    ) -> Tensor:
        # p(x_0^l | x_t) is proportional to p_loo(x_0^l) q(x_t^l | x_0^l). Divide by q(x_t^l | x_0^l).
        if parameterization is Parameterization.POSTERIOR:
            log_ratio_N1 = self._log_ratio(alpha_N).to(logits_NV.dtype)[:, None]
            logits_NV = logits_NV.scatter_add(1, xt_N[:, None], -log_ratio_N1)
        return logits_NV

    @override
    def posterior_logits(self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor) -> Tensor:
        log_ratio_N1 = self._log_ratio(alpha_N).to(logits_NV.dtype)[:, None]
        return logits_NV.scatter_add(1, xt_N[:, None], log_ratio_N1)

    def _log_ratio(self, alpha_N: Tensor) -> Tensor:
        """Return ln q(x_t | x_0 = x_t) / q(x_t | x_0 = v) for any other id v: ln(1 + V alpha / (1 - alpha))."""
        return torch.log1p(self.vocab_size * alpha_N / (1.0 - alpha_N))

    @override
    def posterior_offset(self, alpha_N: Tensor) -> Tensor:
        return self._log_ratio(alpha_N)

    @override
    def nelbo(self, logp_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        # With a = V alpha, b = 1 - alpha, xbar = a onehot(x_0) + b, xbar_p = a p + b and i = x_t:
        #   slope / a [V / xbar_i - V / xbar_p_i - sum_j xbar_j / xbar_i ln(xbar_p_i / xbar_p_j xbar_j / xbar_i)]
        # (Sahoo et al. 2025, arXiv 2506.10892). xbar has two distinct values and sums to V, so the sum over j reduces
        # to one sum of ln xbar_p_j and terms in closed form.
        V, (x0_N, xt_N, alpha_N, slope_N) = self.vocab_size, tokens
        a_N, b_N = V * alpha_N, 1.0 - alpha_N
        clean_N = xt_N == x0_N
        xbar_i_N = torch.where(clean_N, a_N + b_N, b_N)
        constant_N = constant_term(V, a_N, b_N, xbar_i_N)

        dtype = logp_NV.dtype
        a, b, xbar_i = a_N.to(dtype), b_N.to(dtype), xbar_i_N.to(dtype)
        xbar_p_NV = a[:, None] * logp_NV.exp() + b[:, None]
        log_NV = xbar_p_NV.log()
        xbar_p_i = xbar_p_NV.gather(1, xt_N[:, None])[:, 0]
        log_i = log_NV.gather(1, xt_N[:, None])[:, 0]
        log_0 = log_NV.gather(1, x0_N[:, None])[:, 0]
        summed = (V * log_i - b * log_NV.sum(1) - a * log_0) / xbar_i + constant_N.to(dtype)
        return (slope_N / a_N).to(dtype) * (V / xbar_i - V / xbar_p_i - summed)

    @override
    def nelbo_from_logits(self, logits_NV: Tensor, tokens: NoisyTokens, parameterization: Parameterization) -> Tensor:
        if parameterization is not Parameterization.LEAVE_ONE_OUT:
            return super().nelbo_from_logits(logits_NV, tokens, parameterization)
        # measuring has other shapes and dtypes, for which the compiled function would be compiled again
        function = self._loss_and_gradient if logits_NV.requires_grad else loss_and_gradient
        loss_N: Tensor = UniformNelbo.apply(function, logits_NV, tokens)  # type: ignore[no-untyped-call]  # untyped in torch
        return loss_N

    @override
    def nelbo_and_gradient(
        self, logits_NV: Tensor, tokens: NoisyTokens, parameterization: Parameterization, weight_N: Tensor | None
    ) -> LossAndGradient:
        if parameterization is not Parameterization.LEAVE_ONE_OUT:
            return super().nelbo_and_gradient(logits_NV, tokens, parameterization, weight_N)
        if fused.is_fused(logits_NV) and logits_NV.dtype != torch.float64:
            return fused_loss_and_gradient(logits_NV, tokens, weight_N)
        values_NV = at_least_float32(logits_NV)
        loss_N, gradient_NV = self._loss_and_gradient(values_NV, tokens, weight_N is not None)
        if gradient_NV is not None and weight_N is not None:
            gradient_NV = round_gradient(gradient_NV.mul_(weight_N.to(loss_N.dtype)[:, None]), logits_NV.dtype)
        return LossAndGradient(loss_N, gradient_NV)

    @override
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        # q(x_s | x_t, p) is a mixture of three distributions, with weights up to a constant of each token and
        # alpha_ts = alpha_t / alpha_s (Schiff et al. 2024, arXiv 2412.10193):
        #   onehot(x_t)   stay      alpha_t V p[x_t] + alpha_ts - alpha_t
        #   p             jump      alpha_s - alpha_t
        #   1 / V         scatter   (1 - alpha_ts) (1 - alpha_s)
        alpha_ts_N = alpha_t_N / alpha_s_N
        p_i_N = logp_NV.gather(1, xt_N[:, None])[:, 0].double().exp()
        jump_N = alpha_s_N - alpha_t_N
        scatter_N = (1.0 - alpha_ts_N) * (1.0 - alpha_s_N)
        stay_N = alpha_t_N * self.vocab_size * p_i_N + alpha_ts_N - alpha_t_N
        # jump and scatter come first on the unit interval: near t = 0 they are rare, and float64 is most precise near 0
        position_N = uniform(keys_N, 0) * (jump_N + scatter_N + stay_N)
        moved_N = position_N < jump_N + scatter_N

        def draw(some: Tensor | slice) -> Tensor:
            jumped_M = sample_categorical(logp_NV[some], uniform(keys_N[some], 1))
            scattered_M = integers(self.vocab_size, keys_N[some], 2)
            return torch.where(position_N[some] < jump_N[some], jumped_M, scattered_M)

        return replace_where(moved_N, draw, xt_N)

    @override
    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        # `step` with p[x_t] = 0, the smallest weight of staying; the same operations, so that rounding is the same
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
        # Bayes with frequencies f: f(x_0) q(x_t | x_0) / sum_v f(v) q(x_t | v),
        # where q(x_t | v) = alpha [x_t = v] + (1 - alpha) / V
        scattered_N = (1.0 - alpha_N) / self.vocab_size
        clean_N = torch.where(x0_N == xt_N, alpha_N, torch.zeros_like(alpha_N))
        return unigram_V[x0_N] * (clean_N + scattered_N) / (alpha_N * unigram_V[xt_N] + scattered_N)
