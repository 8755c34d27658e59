"""Retrieval dynamics of associative memories.

Shapes: B rows, L positions, C tokens in a chunk, V ids.
"""

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_within
from uddm_lightning.core.keyed_random import Stream, key, uniform
from uddm_lightning.core.progress import progress
from uddm_lightning.processes.categorical import sample_categorical
from uddm_lightning.samplers.base import Observer, Sampler
from uddm_lightning.samplers.denoiser import Denoiser

FIRST_TIME = 1e-5  # time that stands for t = 0 at the start


class SpinDynamics(Sampler):
    """Retrieval dynamics: replace tokens repeatedly by their leave-one-out predictions.

    At temperature 0 a token becomes the most probable id, and stays if it is one of the most probable. At temperature
    T a token is drawn with probabilities proportional to p_l^(1 / T): Glauber dynamics, which for T = 1 is Gibbs
    sampling. Sequential dynamics change one token at a time, in an order that is drawn for each row and sweep; parallel
    dynamics change all tokens at once, and may end in a cycle of two rows.

    Every row makes `steps` sweeps, for any start time t. The network receives times that fall from t to 0 in equal
    steps; memories ignore them.

    Source: Hopfield 1982 (sequential); Little 1974 (parallel).

    Args:
        steps: number of sweeps, at least 1. A sequential sweep evaluates the network L times.
        temperature: T, in [0, 1e6).
        order: "parallel" or "sequential".

    Raises:
        ValueError: an argument is out of its range; or, when called, `t` is not in [0, 1].

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import HebbMemory, TextStatistics
        >>> from uddm_lightning.core.parameterization import Parameterization
        >>> from uddm_lightning.processes import UniformProcess
        >>> from uddm_lightning.processes.schedules import LogLinearSchedule
        >>> from uddm_lightning.samplers import SpinDynamics
        >>> from uddm_lightning.samplers.denoiser import Denoiser
        >>> backbone = HebbMemory(2)
        >>> backbone.prepare(TextStatistics(lambda: torch.tensor([[0, 1, 1, 0, 1]]), torch.tensor([0.5, 0.5])))
        >>> denoiser = Denoiser(UniformProcess(2, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)
        >>> SpinDynamics(steps=2)(denoiser, torch.tensor([[1, 1, 1, 0, 1]]), 0.2, keys_B=torch.tensor([0]))
        tensor([[0, 1, 1, 0, 1]])
    """

    def __init__(
        self, steps: int = 50, temperature: float = 0.0, order: Literal["parallel", "sequential"] = "parallel"
    ) -> None:
        super().__init__(steps)
        check_within("[0, 1e6)", temperature=temperature)
        if order not in ("parallel", "sequential"):
            raise ValueError(f'`order` must be "parallel" or "sequential", got {order!r}.')
        self.temperature = temperature
        self.order = order

    @property
    @override
    def name(self) -> str:
        return f"{self.order}-temperature-{self.temperature:g}"

    @property
    @override
    def is_argmax(self) -> bool:
        return self.temperature == 0.0

    @override
    def grid(self, t: float) -> list[float]:
        start = max(t, FIRST_TIME)
        return [start * (self.steps - sweep) / self.steps for sweep in range(self.steps + 1)]

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
        x_BL = xt_BL.clone()
        start_B = torch.as_tensor(t, dtype=torch.float64, device=x_BL.device).expand(len(x_BL))
        if outside := start_B[~((start_B >= 0.0) & (start_B <= 1.0))].tolist():
            raise ValueError(f"`t` must be in [0, 1], got {outside[0]}.")
        rows_by_start = {start: (start_B == start).nonzero()[:, 0] for start in set(start_B.tolist())}
        positions_L = torch.arange(x_BL.shape[1], device=x_BL.device)
        for sweep in progress(range(self.steps), "retrieval", "sweeps"):
            if observe is not None:
                for start, rows_M in rows_by_start.items():
                    observe(self.grid(start)[sweep], x_BL[rows_M], rows_M)
            t_B = start_B.clamp(min=FIRST_TIME) * (self.steps - sweep) / self.steps
            keys_BL = key(keys_B[:, None], Stream.CHAIN, sweep, positions_L)
            if self.order == "parallel":
                masks = [torch.ones_like(x_BL, dtype=torch.bool)]
            else:
                order_BL = uniform(keys_BL, 1).argsort(1)
                masks = [position_B1 == positions_L for position_B1 in torch.split(order_BL, 1, 1)]
            for selected_BL in masks:
                selected_BL = selected_BL & denoiser.process.prediction_mask(x_BL)
                if valid_BL is not None:
                    selected_BL = selected_BL & valid_BL
                denoiser.replace(self._choose, x_BL, t_B, valid_BL, keys_BL, selected_BL)
        return x_BL

    def _choose(self, logits_CV: Tensor, x_C: Tensor, keys_C: Tensor) -> Tensor:
        """Return new ids (C,)."""
        if self.temperature > 0.0:
            return sample_categorical((logits_CV.double() / self.temperature).log_softmax(1), uniform(keys_C))
        most_C, best_C = logits_CV.max(1)
        own_C = logits_CV.gather(1, x_C.clamp(max=logits_CV.shape[1] - 1)[:, None])[:, 0]
        stays_C = (x_C < logits_CV.shape[1]) & (own_C >= most_C)  # a mask token never stays
        return torch.where(stays_C, x_C, best_C)
