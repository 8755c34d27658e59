"""The reverse chain of the paper, drawn or followed along its likeliest path."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm
from typing_extensions import override

from uddm_lightning.core.keyed_random import Stream, key
from uddm_lightning.samplers.base import Observer, Sampler
from uddm_lightning.samplers.denoiser import Denoiser

LAST_TIME = 1e-5  # where the grid ends; one noise-free step follows


class AncestralSampler(Sampler):
    """Steps from t to s with q(x_s | x_t, p) on a uniform grid that ends at 1e-5, then removes the last noise.

    The grid has `steps` steps from 1 to 1e-5; a chain enters it at the point nearest its t. The chain may rewrite
    tokens that were never corrupted, unless it is clamped.

    In a short step nearly all tokens stay where they are, and the random numbers tell which before the network is
    asked: it is shown only rows in which a token may move.

    Args:
        steps: number of steps on the whole grid.
        choose: "draw" samples each step (chain "ancestral"); "argmax" takes the likeliest id of each step (chain
            "argmax-posterior"), which hardly ever moves a token.
        clamp: hold the tokens that are known to be clean (chain name ends in "-clamped").
        final: "ancestral" ends with one more step to time 0; "argmax" writes the likeliest id at every position (chain
            name ends in "-argmax"), which also rewrites clean text where the process can.
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
    def name(self) -> str:
        name = "ancestral" if self.choose == "draw" else "argmax-posterior"
        return name + ("-clamped" if self.clamp else "") + ("-argmax" if self.final == "argmax" else "")

    @property
    @override
    def is_argmax(self) -> bool:
        return "argmax" in (self.choose, self.final)

    @override
    def grid(self, t: float) -> list[float]:
        return [self._time(left) for left in range(int(self._entries(t, 1)), -2, -1)]

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
            raise ValueError("`clamp: true` needs `clean_BL`: which tokens are known to be clean.")
        # the longest chains first: those that have begun are then always the first rows
        entries_B, order_B = self._entries(t, len(xt_BL)).sort(descending=True, stable=True)
        order_B = order_B.to(xt_BL.device)
        x_BL, keys_B = xt_BL[order_B], keys_B[order_B]
        valid_BL = None if valid_BL is None else valid_BL[order_B]
        frozen_BL = clean_BL[order_B] if self.clamp and clean_BL is not None else None
        if valid_BL is not None:
            frozen_BL = ~valid_BL if frozen_BL is None else frozen_BL | ~valid_BL
        longest = int(entries_B[0]) if len(entries_B) else -1
        steps = tqdm(range(longest, -1, -1), desc="reverse chain", delay=2.0, leave=False, dynamic_ncols=True)
        for left in steps:
            begun = slice(0, int((entries_B >= left).sum()))
            if observe is not None:
                observe(self._time(left), x_BL[begun], order_B[begun])
            valid, frozen = (None if mask is None else mask[begun] for mask in (valid_BL, frozen_BL))
            self._step(denoiser, x_BL[begun], left, keys_B[begun], valid, frozen)
        return torch.empty_like(x_BL).index_copy_(0, order_B, x_BL)

    def _entries(self, t: float | Tensor, rows: int) -> Tensor:
        """Number of the grid point nearest each row's t, int64 (B,), on the CPU."""
        t_B = t.double().cpu() if isinstance(t, Tensor) else torch.full((rows,), t, dtype=torch.float64)
        if outside := t_B[~((t_B >= 0.0) & (t_B <= 1.0))].tolist():
            raise ValueError(f"`t` must be in [0, 1], got {outside[0]}.")
        return ((t_B - LAST_TIME) / self._width).round().long().clamp_(min=0)

    @property
    def _width(self) -> float:
        return (1.0 - LAST_TIME) / self.steps

    def _time(self, left: int) -> float:
        """Time of a grid point; the end of the last, noise-free step is number -1."""
        return LAST_TIME + self._width * left if left >= 0 else 0.0

    def _step(
        self,
        denoiser: Denoiser,
        x_BL: Tensor,
        left: int,
        keys_B: Tensor,
        valid_BL: Tensor | None = None,
        frozen_BL: Tensor | None = None,
    ) -> None:
        """Takes ids (B, L) one step further, in place, after which `left` more steps follow."""
        process = denoiser.process
        now_B = torch.full((len(x_BL),), self._time(left), dtype=torch.float64, device=x_BL.device)
        then = torch.full_like(now_B[0], self._time(left - 1))
        alpha_t, alpha_s = process.level(now_B[0]).alpha, process.level(then).alpha
        # keyed by the steps that are left, so that chains from different t share their noise where they overlap
        keys_BL = key(keys_B[:, None], Stream.CHAIN, left, torch.arange(x_BL.shape[1], device=x_BL.device))
        argmax = left == 0 and self.final == "argmax"
        draws = self.choose == "draw" and not argmax

        def reduce(logits_CV: Tensor, x_C: Tensor, keys_C: Tensor) -> tuple[Tensor, ...]:
            if argmax:
                return (logits_CV.argmax(1),)
            follow = partial(process.step, keys_N=keys_C) if draws else process.argmax_step
            return (follow(logits_CV.log_softmax(1), x_C, alpha_s.expand_as(x_C), alpha_t.expand_as(x_C)),)

        asked_BL = process.may_change_mask(x_BL, alpha_s, alpha_t, keys_BL) if draws else process.prediction_mask(x_BL)
        if frozen_BL is not None:
            asked_BL &= ~frozen_BL
        if bool(asked_BL.any()):
            x_BL[asked_BL] = denoiser(reduce, x_BL, now_B, valid_BL, keys_BL, asked_BL=asked_BL)[0]
