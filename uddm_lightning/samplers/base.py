"""The contract of a sampler: the way back from noise to text.

Shapes: B rows, L positions.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from uddm_lightning.denoiser import Denoiser


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
    def chain(self) -> str:
        """Name of the chain in every result."""

    @abstractmethod
    def __call__(
        self,
        denoiser: Denoiser,
        xt_BL: Tensor,
        t: float | Tensor,
        keys_B: Tensor,
        valid_BL: Tensor | None = None,
        clean_BL: Tensor | None = None,
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

        Returns:
            int64 ids (B, L) at time 0.
        """
