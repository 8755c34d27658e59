"""The absorbing process: noise replaces tokens by a mask token."""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.devices import replace_where
from uddm_lightning.core.keyed_random import uniform
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.categorical import sample_categorical


class AbsorbingProcess(Process):
    """Absorbing-state process: q(x_t | x_0) = Cat(alpha_t onehot(x_0) + (1 - alpha_t) onehot(mask)), per token.

    The mask token is id V. Predictions are defined at masked positions, where the posterior p(x_0 | x_t) equals the
    leave-one-out prediction. The other tokens are clean, and the reverse chain keeps them.

    Source: Austin et al. 2021, arXiv 2107.03006 (D3PM); Sahoo et al. 2024, arXiv 2406.07524 (MDLM); Shi et al. 2024,
    arXiv 2406.04329 (MD4).

    Args:
        vocab_size: V, number of ids without the mask token, at least 2.
        schedule: noise schedule.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes import AbsorbingProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> process = AbsorbingProcess(27, LogLinearSchedule())
        >>> process.mask_id, process.num_states
        (27, 28)
        >>> x0_BL, keys_B = torch.arange(10)[None], torch.tensor([0])
        >>> noised = process.corrupt(x0_BL, torch.tensor([0.5]), keys_B)
        >>> noised.xt_BL
        tensor([[27, 27,  2,  3, 27,  5, 27, 27,  8, 27]])
        >>> process.prediction_mask(noised.xt_BL).sum()
        tensor(6)
    """

    @property
    @override
    def mask_id(self) -> int:
        return self.vocab_size

    @override
    def prediction_mask(self, xt: Tensor) -> Tensor:
        return xt == self.mask_id

    @override
    def sample_prior(self, uniform_BL: Tensor) -> Tensor:
        return torch.full_like(uniform_BL, self.mask_id)

    @override
    def mask_position(self, x0_BL: Tensor, position_B: Tensor) -> Tensor:
        return x0_BL.scatter(1, position_B[:, None], self.mask_id)

    @override
    def draw_noise(self, keys_BL: Tensor, alpha_B: Tensor) -> tuple[Tensor, Tensor]:
        # the same random numbers as in the uniform process, so that both touch the same tokens
        return uniform(keys_BL, 0), torch.full_like(keys_BL, self.mask_id)

    @override
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, parameterization: Parameterization
    ) -> Tensor:
        # x_0 is never the mask: drop its logit ("zero masking probabilities", Sahoo et al. 2024)
        return logits_NV[:, : self.vocab_size]

    @override
    def posterior_logits(self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor) -> Tensor:
        # q(mask | x_0) is the same for every x_0, and a visible token is x_0
        logits_NV, masked_N1 = logits_NV[:, : self.vocab_size], self.prediction_mask(xt_N)[:, None]
        visible_NV = torch.arange(self.vocab_size, device=xt_N.device) == xt_N[:, None]
        return torch.where(masked_N1 | visible_NV, logits_NV, float("-inf"))

    @override
    def nelbo(self, logp_NV: Tensor, tokens: NoisyTokens) -> Tensor:
        # slope / (1 - alpha) ln p[x_0] where x_t is the mask, 0 elsewhere (Sahoo et al. 2024, eq. 10)
        x0_N, xt_N, alpha_N, slope_N = tokens
        logp_0_N = logp_NV.gather(1, x0_N[:, None])[:, 0]
        rate_N = (slope_N / (1.0 - alpha_N)).to(logp_NV.dtype)
        return torch.where(self.prediction_mask(xt_N), rate_N * logp_0_N, 0.0)

    @override
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        unmasked_N = self.may_change_mask(xt_N, alpha_s_N, alpha_t_N, keys_N)
        return replace_where(unmasked_N, lambda some: sample_categorical(logp_NV[some], uniform(keys_N[some], 1)), xt_N)

    @override
    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        return self.prediction_mask(xt_N) & (uniform(keys_N, 0) < _unmask_probability(alpha_s_N, alpha_t_N))

    @override
    def argmax_step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        best_N, id_N = logp_NV.max(1)
        unmask_N = _unmask_probability(alpha_s_N, alpha_t_N)
        moves_N = self.prediction_mask(xt_N) & (unmask_N * best_N.double().exp() >= 1.0 - unmask_N)
        return torch.where(moves_N, id_N, xt_N)

    @override
    def chance(self, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, unigram_V: Tensor) -> Tensor:
        return torch.where(self.prediction_mask(xt_N), unigram_V[x0_N], (xt_N == x0_N).to(unigram_V.dtype))


def _unmask_probability(alpha_s: Tensor, alpha_t: Tensor) -> Tensor:
    """Return the probability (alpha_s - alpha_t) / (1 - alpha_t) that a step t -> s unmasks a token; 1 at s = 0."""
    return (alpha_s - alpha_t) / (1.0 - alpha_t)
