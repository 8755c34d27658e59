"""Curriculum of Duo: the NELBO of the uniform process with network inputs from the underlying Gaussian process.

Shapes: B rows, L positions, V ids, K = top_k ids.
"""

from dataclasses import dataclass
from functools import cache

import torch
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone, SoftBackbone
from uddm_lightning.core.batch import Noised, SoftTokens, TokenBatch
from uddm_lightning.core.errors import InputError, check_at_least
from uddm_lightning.objectives import gaussian_duality
from uddm_lightning.objectives.nelbo import NELBO
from uddm_lightning.processes import Process, UniformProcess

PAPER_GAMMA, PAPER_VOCAB = (-3.5, -1.75), 30_522
MAX_DROPPED_WEIGHT = 1e-6  # largest mean softmax weight of the ids outside the top k
MIN_LEVEL = 1e-6  # smallest alpha and 1 - alpha, because the loss is divided by both


@dataclass(eq=False)
class DuoCurriculum(NELBO):
    """NELBO on z_t = argmax w_t, where the network reads softmax(w_t / tau) during the first steps.

    w_t is Gaussian noise on the one-hot vector of x_0, and z_t is a sample of the uniform process
    (`gaussian_duality.py`). Where the largest coordinates of w_t differ by a few tau or less, the input of the network
    is a mixture of their ids, which contains information on x_0 that z_t does not contain.

    gamma = ln(s^2 / a^2) is uniform over its range, which takes one unit of time. The loss is the integral of the NELBO
    over the levels of that range, not a mean over times. For tau to 0 it is (t_2 - t_1) times the loss of `NELBO` on
    the times [t_1, t_2] with the same levels. Levels outside the range are not trained before `end_step`.

    Source: Sahoo et al. 2025, arXiv 2506.10892. The restriction to the largest ids follows Deschenaux et al. 2026.

    Args:
        t_min: smallest time of the plain NELBO, in (0, t_max).
        t_max: largest time of the plain NELBO, in (t_min, 1].
        tau: temperature of the softmax, above 0.
        gamma_min: smallest gamma; None for the level of -3.5 at 30,522 ids, alpha = 0.942.
        gamma_max: largest gamma; None for the level of -1.75 at 30,522 ids, alpha = 0.049.
        start_step: first optimizer step of the curriculum, at least 0.
        end_step: first optimizer step of the plain NELBO after the curriculum, above `start_step`.
        top_k: K, number of ids per position in the input of the network, at least 2: x_0 and the K - 1 ids with the
            largest other coordinates. Values above V mean V.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from uddm_lightning.core.batch import TokenBatch
        >>> from uddm_lightning.objectives import DuoCurriculum
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> rows_B, quantiles_B = torch.arange(2), torch.tensor([0.25, 0.75])
        >>> batch = TokenBatch(torch.zeros(2, 8).long(), rows_B, rows_B, rows_B, quantiles_B, None, None, 0, 0)
        >>> noised = DuoCurriculum(top_k=4).corrupt(UniformProcess(27, LogLinearSchedule()), batch)
        >>> noised.soft.weights_BLK.shape
        torch.Size([2, 8, 4])
        >>> noised.alpha_B
        tensor([0.5687, 0.1040], dtype=torch.float64)
    """

    t_min: float = 1e-3
    t_max: float = 1.0
    tau: float = 1e-3
    gamma_min: float | None = None
    gamma_max: float | None = None
    start_step: int = 0
    end_step: int = 500_000
    top_k: int = 8

    def __post_init__(self) -> None:
        super().__init__(self.t_min, self.t_max)
        if not self.tau > 0.0:
            raise ValueError(f"`tau` must be above 0, got {self.tau}.")
        if not 0 <= self.start_step < self.end_step:
            raise ValueError(
                "`start_step` and `end_step` must satisfy 0 <= start_step < end_step, got "
                f"{self.start_step} and {self.end_step}."
            )
        check_at_least(2, top_k=self.top_k)

    def gamma_range(self, vocab_size: int) -> tuple[float, float]:
        """Return the smallest and the largest gamma for V ids."""
        lowest, highest = _paper_gamma_range(vocab_size)
        return (
            lowest if self.gamma_min is None else self.gamma_min,
            highest if self.gamma_max is None else self.gamma_max,
        )

    @override
    def check_compatible(self, process: Process, backbone: Backbone) -> None:
        if not isinstance(process, UniformProcess):
            raise InputError(
                "`model.objective` is DuoCurriculum, which supports UniformProcess only, and `model.process` is "
                f"{type(process).__name__}; use `NELBO`."
            )
        if not isinstance(backbone, SoftBackbone):
            raise InputError(
                "`model.objective` is DuoCurriculum, which needs a SoftBackbone, and `model.backbone` is "
                f"{type(backbone).__name__}; use `DiT`, or the objective `NELBO`."
            )
        V, (low, high) = process.vocab_size, self.gamma_range(process.vocab_size)
        if not low < high:
            raise InputError(f"`gamma_min` must be below `gamma_max`, got {low} and {high} for {V} ids.")
        largest, smallest = gaussian_duality.noise_level(
            torch.tensor([low, high], dtype=torch.float64), V
        ).alpha.tolist()
        if not MIN_LEVEL <= smallest < largest <= 1.0 - MIN_LEVEL:
            raise InputError(
                f"`gamma_min` = {low} and `gamma_max` = {high} give levels {largest:.6g} and {smallest:.6g} for {V} "
                f"ids, which must be in [{MIN_LEVEL:g}, 1 - {MIN_LEVEL:g}]; omit both for the levels 0.942 and 0.049."
            )
        if (weight := gaussian_duality.dropped_weight_bound(low, self.tau, V, self.top_k)) > MAX_DROPPED_WEIGHT:
            raise InputError(
                f"`tau` = {self.tau} is too large for `top_k` = {self.top_k}: the other ids may have a mean weight of "
                f"{weight:.1e}, and at most {MAX_DROPPED_WEIGHT:g} is allowed. Increase `top_k` or decrease `tau`."
            )

    @override
    def corrupt(self, process: Process, batch: TokenBatch) -> Noised:
        if not self.start_step <= batch.step < self.end_step:
            return super().corrupt(process, batch)
        low, high = self.gamma_range(process.vocab_size)
        t_B = batch.quantiles_B.double()
        gamma_B = low + (high - low) * t_B
        level = gaussian_duality.noise_level(gamma_B, process.vocab_size)
        x0_BL, valid_BL = batch.tokens_BL, batch.valid_BL
        keys_BL = gaussian_duality.gaussian_keys(batch.keys_B, x0_BL.shape[1])
        top = gaussian_duality.sample_top_values(x0_BL, gamma_B[:, None], keys_BL, process.vocab_size, self.top_k)
        if valid_BL is not None:
            top.values[..., 1:].masked_fill_(~valid_BL[..., None], float("-inf"))  # padding stays unchanged
        soft = SoftTokens(top.ids, torch.softmax(top.values / self.tau, -1))
        return Noised(x0_BL, top.argmax, t_B, level.alpha, (high - low) * level.slope, valid_BL, soft)


@cache
def _paper_gamma_range(vocab_size: int) -> tuple[float, float]:
    """Return the range of gamma for V ids with the levels of the paper's range at the paper's V."""
    levels = gaussian_duality.noise_level(torch.tensor(PAPER_GAMMA, dtype=torch.float64), PAPER_VOCAB).alpha.tolist()
    low, high = (gaussian_duality.gamma_from_alpha(alpha, vocab_size) for alpha in levels)
    return low, high
