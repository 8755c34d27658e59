"""Training stops at a loss that is not finite."""

from types import SimpleNamespace

import pytest
import torch

from tests.support.tasks import small_task
from uddm_lightning.training.loss_guard import LossGuard


def losses(*bad: int) -> torch.Tensor:
    loss_BL = torch.ones(4, 3)
    for row, value in zip(bad, (float("nan"), float("inf"), float("-inf")), strict=False):
        loss_BL[row, 1] = value
    return loss_BL


def test_the_guard_names_step_and_rows():
    guard = LossGuard()
    guard.watch(6, torch.tensor([10, 11, 12, 13]), losses())
    with pytest.raises(FloatingPointError, match=r"optimizer step 7 in the pool's rows \[11, 13\]"):
        guard.watch(7, torch.tensor([10, 11, 12, 13]), losses(1, 3))


def test_the_guard_waits_if_a_check_would_synchronise():
    class OnDevice(torch.Tensor):
        @property
        def device(self):
            return SimpleNamespace(type="cuda")

    guard = LossGuard(patience=3)
    rows = torch.tensor([10, 11, 12, 13])
    guard.watch(1, rows, losses(2).as_subclass(OnDevice))
    guard.watch(2, rows, losses().as_subclass(OnDevice))
    with pytest.raises(FloatingPointError, match=r"step 1 in the pool's rows \[12\]"):
        guard.watch(3, rows, losses(0).as_subclass(OnDevice))
    guard.check()  # the reported loss is discarded


def test_nothing_is_saved_after_an_invalid_loss():
    model = small_task()
    model.guard.patience = 100
    model.guard.waiting.append((5, torch.tensor([7]), torch.tensor([False])))
    with pytest.raises(FloatingPointError, match="step 5"):
        model.on_save_checkpoint({})
