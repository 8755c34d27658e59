"""Stop training when the loss is NaN or infinite.

Shapes: B rows, L positions.
"""

from collections import deque

import torch
from torch import Tensor


class LossGuard:
    """Raise an error that names step and rows of a loss that is NaN or infinite, without a synchronisation per step.

    Args:
        patience: number of micro-batches to collect before a check; on the CPU each micro-batch is checked at once.

    Example:
        >>> guard = LossGuard()
        >>> guard.watch(7, torch.tensor([3]), torch.tensor([[1.0, torch.nan]]))
        Traceback (most recent call last):
        FloatingPointError: The loss is NaN or infinite at optimizer step 7 in the pool's rows [3]. ...
    """

    def __init__(self, patience: int = 50) -> None:
        self.patience = patience
        self.waiting: deque[tuple[int, Tensor, Tensor]] = deque()  # step, row numbers, whether each loss is finite

    def watch(self, step: int, rows_B: Tensor, loss_BL: Tensor) -> None:
        """Add the losses of a micro-batch."""
        if loss_BL.device.type == "cpu" and bool(loss_BL.detach().sum().isfinite()):
            return
        self.waiting.append((step, rows_B, loss_BL.detach().sum(1).isfinite()))
        if loss_BL.device.type == "cpu" or len(self.waiting) >= self.patience:
            self.check()

    def check(self) -> None:
        """Check all micro-batches that are not checked yet.

        Raises:
            FloatingPointError: a loss was NaN or infinite.
        """
        waiting, self.waiting = self.waiting, deque()
        if not waiting or bool(torch.cat([finite_B for _, _, finite_B in waiting]).all()):
            return
        step, rows_B, finite_B = next(watched for watched in waiting if not bool(watched[2].all()))
        rows = sorted(set(rows_B[~finite_B].tolist()))  # a small subset repeats its rows within a step
        raise FloatingPointError(
            f"The loss is NaN or infinite at optimizer step {step} in the pool's rows {rows}. A lower learning rate, "
            "`trainer.gradient_clip_val` or a larger `model.objective.init_args.t_min` usually helps."
        )
