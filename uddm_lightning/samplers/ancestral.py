"""The reverse chain of the paper, drawn or followed along its likeliest path."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.denoiser import Denoiser
from uddm_lightning.noise import Stream, key
from uddm_lightning.samplers.base import Sampler

LAST_TIME = 1e-5  # where the grid ends; one noise-free step follows


class AncestralSampler(Sampler):
    """Steps from t to s with q(x_s | x_t, p) on a uniform grid that ends at 1e-5, then removes the last noise.

    The grid has `steps` steps from 1 to 1e-5; a chain enters it at the point nearest its t. The chain may rewrite
    tokens that were never corrupted, unless it is clamped.

    Args:
        steps: number of steps on the whole grid.
        choose: "draw" samples each step (chain "ancestral"); "argmax" takes the likeliest id of each step (chain
            "argmax-posterior"), which hardly ever moves a token.
        clamp: hold the tokens that are known to be clean (chain name ends in "-clamped").
        final: "ancestral" ends with one more step to time 0; "argmax" writes the likeliest id at every position (chain
            name ends in "-argmax"), which also rewrites clean text.
    """

    def __init__(
        self,
        steps: int = 1000,
        choose: Literal["draw", "argmax"] = "draw",
        clamp: bool = False,
        final: Literal["ancestral", "argmax"] = "ancestral",
    ) -> None:
        super().__init__(steps)
        if choose not in ("draw", "argmax"):
            raise ValueError(f'`choose` must be "draw" or "argmax", got {choose!r}.')
        if final not in ("ancestral", "argmax"):
            raise ValueError(f'`final` must be "ancestral" or "argmax", got {final!r}.')
        self.choose = choose
        self.clamp = clamp
        self.final = final

    @property
    @override
    def chain(self) -> str:
        name = "ancestral" if self.choose == "draw" else "argmax-posterior"
        return name + ("-clamped" if self.clamp else "") + ("-argmax" if self.final == "argmax" else "")

    def grid(self, t: float) -> list[float]:
        """Times of the chain from the grid point nearest t down to 0, at least two of them."""
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"`t` must be in [0, 1], got {t}.")
        width = (1.0 - LAST_TIME) / self.steps
        left = round((t - LAST_TIME) / width)
        return [LAST_TIME + width * k for k in range(max(left, 0), -1, -1)] + [0.0]

    @override
    @torch.no_grad()
    def __call__(
        self,
        denoiser: Denoiser,
        xt_BL: Tensor,
        t: float,
        keys_B: Tensor,
        valid_BL: Tensor | None = None,
        clean_BL: Tensor | None = None,
    ) -> Tensor:
        if self.clamp and clean_BL is None:
            raise ValueError("`clamp: true` needs `clean_BL`: which tokens are known to be clean.")
        times = self.grid(t)
        frozen_BL = clean_BL if self.clamp else None
        if valid_BL is not None:
            frozen_BL = ~valid_BL if frozen_BL is None else frozen_BL | ~valid_BL
        positions = torch.arange(xt_BL.shape[1], device=xt_BL.device)
        x_BL = xt_BL
        for left, (now, then) in zip(range(len(times) - 2, -1, -1), pairwise(times), strict=True):
            moved_BL = self._step(denoiser, x_BL, now, then, keys_B, left, positions, valid_BL)
            x_BL = moved_BL if frozen_BL is None else torch.where(frozen_BL, x_BL, moved_BL)
        return x_BL

    def _step(
        self,
        denoiser: Denoiser,
        x_BL: Tensor,
        now: float,
        then: float,
        keys_B: Tensor,
        left: int,
        positions: Tensor,
        valid_BL: Tensor | None,
    ) -> Tensor:
        process = denoiser.process
        now_B = torch.full((len(x_BL),), now, dtype=torch.float64, device=x_BL.device)
        alpha_t, alpha_s = process.level(now_B[0]).alpha, process.level(torch.full_like(now_B[0], then)).alpha
        # keyed by the steps that are left, so that chains from different t share their noise where they overlap
        keys_BL = key(keys_B[:, None], Stream.CHAIN, left, positions)

        def reduce(logp_CV: Tensor, x_C: Tensor, keys_C: Tensor) -> tuple[Tensor, ...]:
            if then == 0.0 and self.final == "argmax":
                return (logp_CV.argmax(1),)
            if self.choose == "argmax":
                return (process.likeliest(logp_CV, x_C, alpha_s.expand_as(x_C), alpha_t.expand_as(x_C)),)
            return (process.step(logp_CV, x_C, alpha_s.expand_as(x_C), alpha_t.expand_as(x_C), keys_C),)

        return denoiser(reduce, x_BL, now_B, valid_BL, keys_BL)[0]
