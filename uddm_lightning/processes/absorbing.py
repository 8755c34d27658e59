"""The absorbing process: a token that noise touches is masked, and says nothing more."""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import Noised
from uddm_lightning.core.keyed_random import Stream, key, uniform
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.categorical import draw
from uddm_lightning.processes.parameterization import Parameterization


class AbsorbingProcess(Process):
    """q(x_t | x_0) = alpha_t onehot(x_0) + (1 - alpha_t) onehot(mask), token by token; the mask is id V.

    Predictions exist at masked positions alone. There nothing of the token is left to be seen, so that the posterior
    p(x_0 | x_t) and the leave-one-out prediction are one; a token that is not masked is clean, and stays.

    Source: Austin et al. 2021 (D3PM); Sahoo et al. 2024, arXiv 2406.07524 (MDLM); Shi et al. 2024, arXiv 2406.04329.
    """

    @property
    @override
    def mask_id(self) -> int:
        return self.vocab_size

    @override
    def prediction_mask(self, xt: Tensor) -> Tensor:
        return xt == self.mask_id

    @override
    def prior(self, tokens_BL: Tensor) -> Tensor:
        return torch.full_like(tokens_BL, self.mask_id)

    @override
    def mask_position(self, x0_BL: Tensor, position_B: Tensor) -> Tensor:
        return x0_BL.scatter(1, position_B[:, None], self.mask_id)

    @override
    def corrupt(self, x0_BL: Tensor, t_B: Tensor, keys_B: Tensor, valid_BL: Tensor | None = None) -> Noised:
        # the same numbers as in the uniform process: both touch the same tokens
        level = self.level(t_B)
        keys_BL = key(keys_B[:, None], Stream.CORRUPTION, torch.arange(x0_BL.shape[1], device=x0_BL.device))
        touched_BL = uniform(keys_BL, 0) >= level.alpha[:, None]
        if valid_BL is not None:
            touched_BL &= valid_BL
        return Noised(x0_BL, x0_BL.masked_fill(touched_BL, self.mask_id), t_B, level.alpha, level.slope, valid_BL)

    @override
    def leave_one_out_logits(
        self, logits_NV: Tensor, xt_N: Tensor, alpha_N: Tensor, prediction: Parameterization
    ) -> Tensor:
        # a mask is never the answer: its logit is left out (MDLM's "zero masking probabilities")
        return logits_NV[:, : self.vocab_size]

    @override
    def nelbo(self, logp_NV: Tensor, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, slope_N: Tensor) -> Tensor:
        # slope / (1 - alpha) ln p[x_0] where x_t is the mask, 0 elsewhere (MDLM, eq. 10); slope and ln p are negative
        logp_0_N = logp_NV.gather(1, x0_N[:, None])[:, 0]
        rate_N = (slope_N / (1.0 - alpha_N)).to(logp_NV.dtype)
        return torch.where(self.prediction_mask(xt_N), rate_N * logp_0_N, 0.0)

    @override
    def posterior(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        # of V + 1 states; from the mask: share p of the ids, 1 - share of the mask
        share_N = _share(alpha_s_N, alpha_t_N).to(logp_NV.dtype)
        from_mask_NS = torch.cat([share_N[:, None] * logp_NV.exp(), 1.0 - share_N[:, None]], 1)
        stays_NS = torch.nn.functional.one_hot(xt_N, self.num_states).to(logp_NV.dtype)
        return torch.where(self.prediction_mask(xt_N)[:, None], from_mask_NS, stays_NS)

    @override
    def step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        moved_N = torch.nonzero(self.may_change_mask(xt_N, alpha_s_N, alpha_t_N, keys_N))[:, 0]
        return xt_N.index_copy(0, moved_N, draw(logp_NV[moved_N], uniform(keys_N[moved_N], 1)))

    @override
    def may_change_mask(self, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor, keys_N: Tensor) -> Tensor:
        return self.prediction_mask(xt_N) & (uniform(keys_N, 0) < _share(alpha_s_N, alpha_t_N))

    @override
    def argmax_step(self, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
        best_N, id_N = logp_NV.max(1)
        share_N = _share(alpha_s_N, alpha_t_N)
        moves_N = self.prediction_mask(xt_N) & (share_N * best_N.double().exp() >= 1.0 - share_N)
        return torch.where(moves_N, id_N, xt_N)

    @override
    def chance(self, x0_N: Tensor, xt_N: Tensor, alpha_N: Tensor, unigram_V: Tensor) -> Tensor:
        return torch.where(self.prediction_mask(xt_N), unigram_V[x0_N], (xt_N == x0_N).to(unigram_V.dtype))


def _share(alpha_s: Tensor, alpha_t: Tensor) -> Tensor:
    """Share of the masked tokens that a step from t to s reveals; exactly 1 at s = 0."""
    return (alpha_s - alpha_t) / (1.0 - alpha_t)
