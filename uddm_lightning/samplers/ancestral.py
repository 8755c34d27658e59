"""Ancestral sampler: the reverse chain of the paper, sampled or with the most probable step.

Shapes: B rows, L positions, C tokens in a chunk, V ids.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core import devices
from uddm_lightning.core.errors import check_within
from uddm_lightning.core.keyed_random import Stream, key
from uddm_lightning.core.progress import progress
from uddm_lightning.samplers.base import Observer, Sampler
from uddm_lightning.samplers.denoiser import Denoiser

LAST_TIME = 1e-5  # smallest time of the uniform grid; the noise-removal step from it to 0 follows


class AncestralSampler(Sampler):
    """Ancestral sampler: steps x_s ~ q(x_s | x_t, p) on a uniform grid from t = 1 to 1e-5, and a noise-removal step.

    A chain starts at the grid point nearest its t. An unclamped chain may change clean tokens under the uniform
    process. Most tokens stay in a short step. The random numbers show before the prediction which tokens may change
    (`Process.may_change_mask`), and the network evaluates only rows with such a token. On a GPU it evaluates further
    rows, so that the number of rows is a power of two or all of them. This changes no id.

    Source: Austin et al. 2021, arXiv 2107.03006; noise removal as in Sahoo et al. 2024, arXiv 2406.07524 (MDLM).

    Args:
        steps: number of steps of the grid, at least 1; the noise-removal step is extra.
        decoding: "sample" draws each step (chain name "ancestral"); "argmax" takes the most probable x_s of each step
            (chain name "argmax-posterior"), which rarely changes a token.
        clamp: keep the tokens that are known to be clean (suffix "-clamped" of the chain name).
        noise_removal: "ancestral" takes one more step to t = 0; "argmax" writes the most probable clean id at every
            position (suffix "-argmax"), which also changes clean tokens under the uniform process.
        temperature: T, in (0, 1e6): predictions are proportional to p^(1 / T) (suffix "-t0.5"). Below 1, samples have
            fewer wrong tokens and less variety. Recovery is larger there, because it is not a proper score.

    Raises:
        ValueError: an argument is out of its range; or, when called, `t` is not in [0, 1], or `clamp` is true and
            `clean_BL` is None.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import TextStatistics, UnigramBackbone
        >>> from uddm_lightning.core.parameterization import Parameterization
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> from uddm_lightning.samplers import AncestralSampler
        >>> from uddm_lightning.samplers.denoiser import Denoiser
        >>> backbone = UnigramBackbone(3)
        >>> backbone.prepare(TextStatistics(lambda: torch.zeros(1, 6).long(), torch.tensor([0.8, 0.1, 0.1])))
        >>> process = UniformProcess(3, LogLinearSchedule())
        >>> denoiser = Denoiser(process, backbone, Parameterization.LEAVE_ONE_OUT)
        >>> sampler = AncestralSampler(steps=10)
        >>> sampler(denoiser, torch.tensor([[0, 1, 2, 0, 1, 2]]), 1.0, keys_B=torch.tensor([0]))
        tensor([[0, 0, 0, 0, 1, 0]])
    """

    def __init__(
        self,
        steps: int = 1000,
        decoding: Literal["sample", "argmax"] = "sample",
        clamp: bool = False,
        noise_removal: Literal["ancestral", "argmax"] = "ancestral",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(steps)
        check_within("(0, 1e6)", temperature=temperature)
        if decoding not in ("sample", "argmax"):
            raise ValueError(f'`decoding` must be "sample" or "argmax", got {decoding!r}.')
        if noise_removal not in ("ancestral", "argmax"):
            raise ValueError(f'`noise_removal` must be "ancestral" or "argmax", got {noise_removal!r}.')
        self.decoding = decoding
        self.clamp = clamp
        self.noise_removal = noise_removal
        self.temperature = temperature

    @property
    @override
    def name(self) -> str:
        name = "ancestral" if self.decoding == "sample" else "argmax-posterior"
        name += "" if self.temperature == 1.0 else f"-t{self.temperature:g}"
        return name + ("-clamped" if self.clamp else "") + ("-argmax" if self.noise_removal == "argmax" else "")

    @property
    @override
    def is_argmax(self) -> bool:
        return "argmax" in (self.decoding, self.noise_removal)

    @override
    def grid(self, t: float) -> list[float]:
        return [self._time(index) for index in range(int(self._start_indices(t, 1)), -2, -1)]

    @override
    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        xt_BL: Tensor,
        t: float | Tensor,
        keys_B: Tensor,
        valid_BL: Tensor | None = None,
        clean_BL: Tensor | None = None,
        observe: Observer | None = None,
    ) -> Tensor:
        if self.clamp and clean_BL is None:
            raise ValueError("`clamp: true` needs `clean_BL`, the mask of tokens that are known to be clean.")
        # sort rows by decreasing start time, so that the started chains are always the first rows
        start_B, order_B = self._start_indices(t, len(xt_BL)).sort(descending=True, stable=True)
        order_B = order_B.to(xt_BL.device)
        x_BL, keys_B = xt_BL[order_B], keys_B[order_B]
        valid_BL = None if valid_BL is None else valid_BL[order_B]
        frozen_BL = clean_BL[order_B] if self.clamp and clean_BL is not None else None
        if valid_BL is not None:
            frozen_BL = ~valid_BL if frozen_BL is None else frozen_BL | ~valid_BL
        starts = start_B.tolist()
        for index in progress(range(max(starts, default=-1), -1, -1), "reverse chain", "steps"):
            started = sum(start >= index for start in starts)
            if observe is not None:
                observe(self._time(index), x_BL[:started], order_B[:started])
            rows = len(x_BL) if devices.is_asynchronous(x_BL.device) else started  # one shape for the whole chain
            valid, frozen = (None if mask is None else mask[:rows] for mask in (valid_BL, frozen_BL))
            self._step(denoiser, x_BL[:rows], index, keys_B[:rows], valid, frozen, started)
        return torch.empty_like(x_BL).index_copy_(0, order_B, x_BL)

    def _start_indices(self, t: float | Tensor, rows: int) -> Tensor:
        """Return the index of the grid point nearest each start time, int64 (B,), on the CPU."""
        t_B = t.double().cpu() if isinstance(t, Tensor) else torch.full((rows,), t, dtype=torch.float64)
        if outside := t_B[~((t_B >= 0.0) & (t_B <= 1.0))].tolist():
            raise ValueError(f"`t` must be in [0, 1], got {outside[0]}.")
        return ((t_B - LAST_TIME) / self._width).round().long().clamp_(min=0)

    @property
    def _width(self) -> float:
        return (1.0 - LAST_TIME) / self.steps

    def _time(self, index: int) -> float:
        """Return the time of a grid point. Index 0 is `LAST_TIME` and index -1 is time 0."""
        return LAST_TIME + self._width * index if index >= 0 else 0.0

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
        """Replace ids (B, L) at grid point `index` by those at `index - 1`, in place, in the first `started` rows."""
        process = denoiser.process
        t_B = torch.full((len(x_BL),), self._time(index), dtype=torch.float64, device=x_BL.device)
        s = torch.full_like(t_B[0], self._time(index - 1))
        alpha_t, alpha_s = process.level(t_B[0]).alpha, process.level(s).alpha
        # keyed by the grid index, so that chains with different start times share their noise
        keys_BL = key(keys_B[:, None], Stream.CHAIN, index, torch.arange(x_BL.shape[1], device=x_BL.device))
        writes_argmax = index == 0 and self.noise_removal == "argmax"
        samples = self.decoding == "sample" and not writes_argmax

        def step(logits_CV: Tensor, x_C: Tensor, keys_C: Tensor) -> Tensor:
            if writes_argmax:
                return logits_CV.argmax(1)
            take = partial(process.step, keys_N=keys_C) if samples else process.argmax_step
            logits_CV = logits_CV if self.temperature == 1.0 else logits_CV / self.temperature
            return take(logits_CV.log_softmax(1), x_C, alpha_s.expand_as(x_C), alpha_t.expand_as(x_C))

        if samples:
            selected_BL = process.may_change_mask(x_BL, alpha_s, alpha_t, keys_BL)
        else:
            selected_BL = process.prediction_mask(x_BL)
        if frozen_BL is not None:
            selected_BL &= ~frozen_BL
        if started is not None:
            selected_BL[started:] = False
        denoiser.replace(step, x_BL, t_B, valid_BL, keys_BL, selected_BL)
