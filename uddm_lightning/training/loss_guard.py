"""A broken loss stops a run.

Shapes: B rows, L positions.
"""

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor


class Watched(NamedTuple):
    """One micro-batch that waits for its loss to be checked."""

    step: int
    rows_B: Tensor
    finite_B: Tensor


class LossGuard:
    """Stops a run whose loss is NaN or infinite, naming step and rows, without a device synchronisation per step.

    Args:
        patience: micro-batches that may wait for the check; on the CPU, where looking is free, none does.
    """

    def __init__(self, patience: int = 50) -> None:
        self.patience = patience
        self.waiting: deque[Watched] = deque()

    def watch(self, step: int, rows_B: Tensor, loss_BL: Tensor) -> None:
        """Takes the losses of one micro-batch."""
        if loss_BL.device.type == "cpu" and bool(loss_BL.detach().sum().isfinite()):
            return
        self.waiting.append(Watched(step, rows_B, loss_BL.detach().sum(1).isfinite()))
        if loss_BL.device.type == "cpu" or len(self.waiting) >= self.patience:
            self.check()

    def check(self) -> None:
        """Looks at everything that waits.

        Raises:
            FloatingPointError: a loss was NaN or infinite.
        """
        waiting, self.waiting = self.waiting, deque()
        if not waiting or bool(torch.cat([watched.finite_B for watched in waiting]).all()):
            return
        step, rows_B, finite_B = next(watched for watched in waiting if not bool(watched.finite_B.all()))
        rows = rows_B[~finite_B].tolist()
        raise FloatingPointError(
            f"The loss is NaN or infinite at optimizer step {step} in the pool's rows {rows}. A lower learning rate, "
            "`trainer.gradient_clip_val` or a larger `model.objective.init_args.t_min` usually helps."
        )
