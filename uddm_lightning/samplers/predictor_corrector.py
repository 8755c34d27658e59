"""Predictor-corrector sampler: ancestral steps with Gibbs updates between them.

Shapes: B rows, L positions, C tokens in a chunk, V ids.
"""

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.core.keyed_random import Stream, key, uniform
from uddm_lightning.processes.categorical import sample_categorical
from uddm_lightning.samplers.ancestral import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser


class PredictorCorrectorSampler(AncestralSampler):
    """Ancestral steps, each followed by Gibbs updates of single tokens at the new noise level.

    An update draws one token of each row, at a random position l, from its distribution given all others,

        p(x_s^l = v | x_s without l) = alpha_s p_l(v | x_s without l) + (1 - alpha_s) pi(v),

    with the leave-one-out prediction p_l and the distribution pi of the noise. With exact predictions, an update leaves
    the distribution q(x_s) of the process unchanged, and brings other distributions closer to it. It therefore corrects
    errors of earlier steps, which come from the grid and from changing several tokens in one step. No update follows
    the last step, to t = 0.

    Source: Campbell et al. 2022, arXiv 2205.14987 (correctors for discrete diffusion); Zhao et al. 2024, arXiv
    2407.21243 (informed correctors by Gibbs updates).

    Args:
        steps: number of steps of the grid, at least 1; the noise-removal step is extra.
        corrections: updates of each row after each step, at least 1. Each evaluates the network on all rows.
        clamp: as for `AncestralSampler`; tokens that are known to be clean are not updated.
        noise_removal: as for `AncestralSampler`.

    Raises:
        ValueError: an argument is out of its range; or, when called, as for `AncestralSampler`.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import TextStatistics, UnigramBackbone
        >>> from uddm_lightning.core.parameterization import Parameterization
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> from uddm_lightning.samplers import PredictorCorrectorSampler
        >>> from uddm_lightning.samplers.denoiser import Denoiser
        >>> backbone = UnigramBackbone(3)
        >>> backbone.prepare(TextStatistics(lambda: torch.zeros(1, 6).long(), torch.tensor([0.8, 0.1, 0.1])))
        >>> denoiser = Denoiser(UniformProcess(3, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)
        >>> sampler = PredictorCorrectorSampler(steps=10)
        >>> sampler(denoiser, torch.tensor([[0, 1, 2, 0, 1, 2]]), 1.0, keys_B=torch.tensor([0]))
        tensor([[0, 2, 1, 0, 0, 0]])
    """

    def __init__(
        self,
        steps: int = 1000,
        corrections: int = 1,
        clamp: bool = False,
        noise_removal: Literal["ancestral", "argmax"] = "ancestral",
    ) -> None:
        super().__init__(steps, clamp=clamp, noise_removal=noise_removal)
        check_at_least(1, corrections=corrections)
        self.corrections = corrections

    @property
    @override
    def name(self) -> str:
        return super().name.replace("ancestral", f"predictor-corrector-{self.corrections}", 1)

    @override
    def _step(
        self,
        denoiser: Denoiser,
        x_BL: Tensor,
        index: int,
        keys_B: Tensor,
        valid_BL: Tensor | None = None,
        frozen_BL: Tensor | None = None,
        started: int | None = None,
    ) -> None:
        super()._step(denoiser, x_BL, index, keys_B, valid_BL, frozen_BL, started)
        free_BL = torch.ones_like(x_BL, dtype=torch.bool) if frozen_BL is None else ~frozen_BL
        if started is not None:
            free_BL = free_BL & (torch.arange(len(x_BL), device=x_BL.device) < started)[:, None]
        for number in range(self.corrections if index > 0 else 0):
            correct(
                denoiser, x_BL, self._time(index - 1), key(keys_B, Stream.CORRECTION, index, number), free_BL, valid_BL
            )


def correct(
    denoiser: Denoiser, x_BL: Tensor, t: float, keys_B: Tensor, free_BL: Tensor, valid_BL: Tensor | None = None
) -> None:
    """Redraw one token of each row given all others at time t, in place.

    Args:
        denoiser: predictions.
        x_BL: contiguous int64 ids at time t, modified in place.
        t: the time, in (0, 1].
        keys_B: int64 noise keys.
        free_BL: bool, tokens that may be redrawn; a row without any stays as it is.
        valid_BL: False at padding; None if every position is valid.
    """
    process, positions_L = denoiser.process, torch.arange(x_BL.shape[1], device=x_BL.device)
    t_B = torch.full((len(x_BL),), t, dtype=torch.float64, device=x_BL.device)
    keys_BL = key(keys_B[:, None], positions_L)
    position_B = uniform(keys_BL, 0).masked_fill(~free_BL, -1.0).argmax(1)
    selected_BL = free_BL & (positions_L == position_B[:, None])
    # a process with a mask predicts masked tokens only
    x_BL.copy_(process.mask_position(x_BL, position_B).where(selected_BL, x_BL))

    def draw(logits_CV: Tensor, x_C: Tensor, keys_C: Tensor) -> Tensor:
        return sample_categorical(logits_CV.double().log_softmax(1), uniform(keys_C, 1))

    denoiser.replace(draw, x_BL, t_B, valid_BL, keys_BL, selected_BL)
    alpha_B = process.level(t_B).alpha
    quantile_BL, noise_BL = process.draw_noise(key(keys_BL, 2), alpha_B)
    x_BL.copy_(noise_BL.where(selected_BL & (quantile_BL >= alpha_B[:, None]), x_BL))
