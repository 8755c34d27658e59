"""Base class of samplers.

Shapes: B rows, L positions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.samplers.denoiser import Denoiser

# Called before each step as `observe(t, ids_BL, row_index_B)` for the rows whose chains have started; read-only.
Observer = Callable[[float, Tensor, Tensor], None]


class Sampler(ABC):
    """Base class of reverse chains from time t to clean text.

    A subclass implements `name` and `__call__`.

    Args:
        steps: number of grid steps from t = 1 to t = 0, at least 1; a chain from t takes about t * steps of them.

    Raises:
        ValueError: `steps` is below 1.

    Example:
        >>> import torch
        >>> from uddm_lightning.samplers import Sampler
        >>> class ArgmaxSampler(Sampler):
        ...     name = "one-step"
        ...
        ...     def __call__(self, denoiser, xt_BL, t, keys_B, valid_BL=None, clean_BL=None, observe=None):
        ...         t_B = torch.as_tensor(t).double().expand(len(xt_BL))
        ...         return denoiser(lambda logits_CV, x_C: (logits_CV.argmax(1),), xt_BL, t_B, valid_BL)[0]
        >>> ArgmaxSampler(steps=4).grid(0.5)
        [0.5, 0.25, 0.0]
    """

    def __init__(self, steps: int = 1000) -> None:
        check_at_least(1, steps=steps)
        self.steps = steps

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the chain in all results."""

    @property
    def is_argmax(self) -> bool:
        """Whether the chain takes the most probable ids instead of sampling."""
        return False

    def grid(self, t: float) -> list[float]:
        """Return the decreasing times of the chain, from the grid point nearest `t` to 0, at least two.

        A chain may start at each of them except the last. The spacing is 1 / steps by default.
        """
        return [step / self.steps for step in range(max(1, round(t * self.steps)), -1, -1)]

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
        """Run the reverse chain of each row.

        Args:
            denoiser: predictions.
            xt_BL: int64 ids at time t; they are not modified.
            t: start time in [0, 1], or float64 (B,) start times of the rows. Rows with different start times share
                network evaluations; the result of a row does not depend on the others.
            keys_B: int64 noise keys. The chain of a row is a function of its key and its x_t.
            valid_BL: False at padding, which stays unchanged; None if every position is valid.
            clean_BL: True at tokens that are known to be clean. Only clamped chains use it.
            observe: called at every time of the grid except the last, before the step. It does not affect the chain.

        Returns:
            int64 ids (B, L) at time 0.
        """

    def sample(self, denoiser: Denoiser, uniform_BL: Tensor, keys_B: Tensor, observe: Observer | None = None) -> Tensor:
        """Generate rows from pure noise at t = 1.

        Args:
            denoiser: predictions.
            uniform_BL: int64 uniform random ids, from which the process makes x_1.
            keys_B: int64 noise keys.
            observe: as in `__call__`.

        Returns:
            int64 ids (B, L) at time 0.
        """
        x1_BL = denoiser.process.sample_prior(uniform_BL)
        clean_BL = torch.zeros_like(uniform_BL, dtype=torch.bool)
        return self(denoiser, x1_BL, 1.0, keys_B, None, clean_BL, observe)
