"""The contract of a sampler: the way back from noise to text.

Shapes: B rows, L positions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.samplers.denoiser import Denoiser

# told the time of a grid point, the ids (B, L) there of the rows whose chains have begun, and the numbers (B,) that
# these rows have among those given; it may look at the ids, never change them
Observer = Callable[[float, Tensor, Tensor], None]


class Sampler(ABC):
    """Runs the reverse chain from time t to clean text.

    Args:
        steps: number of grid steps from t = 1 to t = 0; a chain from t takes about t times as many.
    """

    def __init__(self, steps: int = 1000) -> None:
        if steps < 1:
            raise ValueError(f"`steps` must be at least 1, got {steps}.")
        self.steps = steps

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the chain in every result."""

    @property
    def is_argmax(self) -> bool:
        """Whether the chain writes likeliest ids; else it draws them."""
        return False

    def grid(self, t: float) -> list[float]:
        """Times of the chain from the grid point nearest t down to 0, at least two of them.

        A chain may start at any of them but the last. Here they lie 1 / steps apart.
        """
        return [left / self.steps for left in range(max(1, round(t * self.steps)), -1, -1)]

    @abstractmethod
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
        """Restores rows.

        Args:
            denoiser: the predictions to follow.
            xt_BL: int64 ids at time t.
            t: time in [0, 1] at which the chains start; float64 (B,) where rows start apart. They then pass through the
                network together, and each ends as it would alone.
            keys_B: noise keys; a row's chain is a function of its key and x_t alone.
            valid_BL: False at padding, which is never touched; None where every position is valid.
            clean_BL: True where x_t is known to be clean; used by clamped chains only.
            observe: called at every time of the grid but the last, before the step from there; the chain is the same
                with it and without.

        Returns:
            int64 ids (B, L) at time 0.
        """

    def draw(self, denoiser: Denoiser, noise_BL: Tensor, keys_B: Tensor, observe: Observer | None = None) -> Tensor:
        """Rows that the model writes by itself, from t = 1 on.

        Args:
            denoiser: the predictions to follow.
            noise_BL: int64 ids, uniform and random.
            keys_B: noise keys.
            observe: looks on.

        Returns:
            int64 ids (B, L) at time 0.
        """
        start_BL = denoiser.process.sample_prior(noise_BL)
        nothing_BL = torch.zeros_like(noise_BL, dtype=torch.bool)
        return self(denoiser, start_BL, 1.0, keys_B, None, nothing_BL, observe)
