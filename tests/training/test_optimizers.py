"""Optimizers from the config: named parameters where a class takes them, and wrong ones refused."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from uddm_lightning.core.errors import InputError
from uddm_lightning.training.lr_schedules import WarmupConstant
from uddm_lightning.training.optimizers import apply_config, check_optimizer, make_optimizer


class Named(torch.optim.SGD):
    takes_names = True

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        named = dict(params)
        self.names = list(named)
        super().__init__(named.values(), lr)


def test_a_class_that_takes_names_receives_them() -> None:
    network = nn.Linear(2, 3)
    for make in (Named, partial(Named, lr=0.5)):
        optimizer = make_optimizer(make, network)
        assert isinstance(optimizer, Named)
        assert optimizer.names == ["weight", "bias"]
    assert isinstance(make_optimizer(torch.optim.AdamW, network), torch.optim.AdamW)


def test_an_optimizer_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(InputError, match=r"`model\.optimizer` cannot be made: Invalid learning rate: -1"):
        check_optimizer(partial(torch.optim.AdamW, lr=-1.0), nn.Linear(2, 3), "32-true")


def test_an_eps_that_float16_rounds_to_zero_is_refused() -> None:
    check_optimizer(torch.optim.AdamW, nn.Linear(2, 3), "32-true")
    with pytest.raises(InputError, match=r"`eps` of `model\.optimizer`, 1e-08, is 0"):
        check_optimizer(torch.optim.AdamW, nn.Linear(2, 3), "16-true")


def test_another_optimizer_than_that_of_the_checkpoint_is_refused() -> None:
    saved = torch.optim.AdamW(nn.Linear(2, 3).parameters())
    torch.optim.lr_scheduler.LambdaLR(saved, lambda step: 1.0)  # adds `initial_lr` to the groups
    checkpoint = {"optimizer_states": [saved.state_dict()], "lr_schedulers": [{"lr_lambdas": [None], "last_epoch": 4}]}
    own = torch.optim.AdamW(nn.Linear(2, 3).parameters(), lr=0.5, weight_decay=0.25)
    groups = [{**group, "initial_lr": group["lr"]} for group in own.param_groups]
    apply_config(checkpoint, groups, WarmupConstant(8), max_steps=100)
    [group] = checkpoint["optimizer_states"][0]["param_groups"]
    assert (group["weight_decay"], group["initial_lr"]) == (0.25, 0.5)
    assert group["lr"] == 0.5 * WarmupConstant(8)(4, 100)
    other = torch.optim.SGD(nn.Linear(2, 3).parameters(), lr=0.1)
    with pytest.raises(InputError, match="another one than that of the checkpoint"):
        apply_config(checkpoint, other.param_groups, WarmupConstant(8), max_steps=100)
