"""Duo's curriculum: the NELBO of discrete noise, read through the Gaussian noise behind it.

Shapes: B rows, L positions, V ids, K of them top_k.
"""

from functools import cache

import torch
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone, SoftBackbone
from uddm_lightning.core.batch import Noised, SoftTokens, TokenBatch
from uddm_lightning.core.errors import InputError
from uddm_lightning.objectives import gaussian_duality
from uddm_lightning.objectives.nelbo import NELBO
from uddm_lightning.processes.base import Process
from uddm_lightning.processes.uniform import UniformProcess

PAPER_GAMMA, PAPER_VOCAB = (-3.5, -1.75), 30_522
LARGEST_NEGLECTED = 1e-6  # of the weights of all ids, in the mean
SMALLEST_LEVEL = 1e-6  # that alpha and 1 - alpha may come down to: the loss is divided by both


class DuoCurriculum(NELBO):
    """The NELBO on z_t = argmax w_t, where the network reads softmax(w_t / tau) instead of z_t for the first steps.

    w_t is Gaussian noise on the one-hot vector of x_0, and z_t a draw of the uniform process (`gaussian_duality.py`).
    Where the largest coordinates are within a few tau of each other, the network is shown a mixture of their ids, which
    betrays something of what the noise has hidden.

    gamma = ln(s^2 / a^2) is spread evenly over its range, which takes one unit of time. The loss is therefore the
    integral of the NELBO over the levels of that range, not a mean over times: as tau goes to 0, (t_2 - t_1) times what
    `NELBO` says on those times [t_1, t_2] that have the same levels. What lies outside the range is not trained until
    the plain NELBO takes over, with `t_min` and `t_max`.

    Source: Sahoo et al. 2025, arXiv 2506.10892; the network reads only the largest ids, as in Deschenaux et al. 2026.

    Args:
        t_min: smallest time of the plain NELBO, in (0, t_max).
        t_max: largest time of the plain NELBO, in (t_min, 1].
        tau: temperature of the softmax, above 0.
        gamma_min: lower end of the range, where noise is least; None for the level of -3.5 at 30,522 ids, 0.942.
        gamma_max: upper end; None for the level of -1.75 at 30,522 ids, 0.049.
        start_step: first optimizer step of the curriculum.
        end_step: first optimizer step behind it, from which on the plain NELBO is trained; it may never be reached.
        top_k: K, ids at a position that the network reads, at least 2: x_0 and its largest rivals. All V, if not less.
    """

    def __init__(
        self,
        t_min: float = 1e-3,
        t_max: float = 1.0,
        tau: float = 1e-3,
        gamma_min: float | None = None,
        gamma_max: float | None = None,
        start_step: int = 0,
        end_step: int = 500_000,
        top_k: int = 8,
    ) -> None:
        super().__init__(t_min, t_max)
        if not tau > 0.0:
            raise ValueError(f"`tau` must be above 0, got {tau}.")
        if not 0 <= start_step < end_step:
            raise ValueError(
                f"`start_step` and `end_step` must satisfy 0 <= start_step < end_step, got {start_step} and {end_step}."
            )
        if top_k < 2:
            raise ValueError(f"`top_k` must be at least 2, got {top_k}.")
        self.tau = tau
        self.gamma_min = gamma_min
        self.gamma_max = gamma_max
        self.start_step = start_step
        self.end_step = end_step
        self.top_k = top_k

    def gammas(self, vocab_size: int) -> tuple[float, float]:
        """Ends of the range of gamma for V ids."""
        lowest, highest = _paper_gammas(vocab_size)
        return (
            lowest if self.gamma_min is None else self.gamma_min,
            highest if self.gamma_max is None else self.gamma_max,
        )

    @override
    def check(self, process: Process, backbone: Backbone) -> None:
        if not isinstance(process, UniformProcess):
            raise InputError(
                "`model.objective` is DuoCurriculum, which knows the Gaussian noise behind a UniformProcess only, and "
                f"`model.process` is {type(process).__name__}; take `NELBO`."
            )
        if not isinstance(backbone, SoftBackbone):
            raise InputError(
                "`model.objective` is DuoCurriculum, which shows the network mixtures of ids, and `model.backbone` is "
                f"{type(backbone).__name__}, which reads nothing but ids; take `DiT`, or `NELBO`."
            )
        V, (low, high) = process.vocab_size, self.gammas(process.vocab_size)
        if not low < high:
            raise InputError(f"`gamma_min` must be below `gamma_max`, got {low} and {high} for {V} ids.")
        most, least = gaussian_duality.level(torch.tensor([low, high], dtype=torch.float64), V).alpha.tolist()
        if not SMALLEST_LEVEL <= least < most <= 1.0 - SMALLEST_LEVEL:
            raise InputError(
                f"`gamma_min` = {low} and `gamma_max` = {high} mean levels {most:.6g} and {least:.6g} for {V} ids, and "
                f"must keep {SMALLEST_LEVEL:g} away from 1 and 0; leave both out for 0.942 and 0.049."
            )
        if (share := gaussian_duality.neglected(low, self.tau, V, self.top_k)) > LARGEST_NEGLECTED:
            raise InputError(
                f"`tau` = {self.tau} spreads the weights over more ids than `top_k` = {self.top_k}: up to "
                f"{share:.1e} of them would be lost in the mean, and at most {LARGEST_NEGLECTED:g} may. Raise "
                "`top_k` or lower `tau`."
            )

    @override
    def corrupt(self, process: Process, batch: TokenBatch) -> Noised:
        if not self.start_step <= batch.step < self.end_step:
            return super().corrupt(process, batch)
        low, high = self.gammas(process.vocab_size)
        t_B = batch.quantiles_B.double()
        gamma_B = low + (high - low) * t_B
        level = gaussian_duality.level(gamma_B, process.vocab_size)
        x0_BL, valid_BL = batch.tokens_BL, batch.valid_BL
        keys_BL = gaussian_duality.token_keys(batch.keys_B, x0_BL.shape[1])
        found = gaussian_duality.leaders(x0_BL, gamma_B[:, None], keys_BL, process.vocab_size, self.top_k)
        if valid_BL is not None:
            found.values[..., 1:].masked_fill_(~valid_BL[..., None], float("-inf"))  # nothing rivals padding
        soft = SoftTokens(found.ids, torch.softmax(found.values / self.tau, -1))
        return Noised(x0_BL, found.argmax, t_B, level.alpha, (high - low) * level.slope, valid_BL, soft)


@cache
def _paper_gammas(vocab_size: int) -> tuple[float, float]:
    """The range of gamma for V ids whose levels are those of the paper's range at its own V."""
    levels = gaussian_duality.level(torch.tensor(PAPER_GAMMA, dtype=torch.float64), PAPER_VOCAB).alpha.tolist()
    low, high = (gaussian_duality.gamma_at(alpha, vocab_size) for alpha in levels)
    return low, high
