"""A small network and a small task, without a trainer."""

from functools import partial

import torch

from uddm_lightning.backbones import DiT
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.lr_schedules import WarmupConstant
from uddm_lightning.training.task import DiffusionTask


def small_network(vocab_size: int = 5) -> DiT:
    return DiT(vocab_size, hidden_size=8, n_blocks=1, n_heads=2, cond_dim=4, dropout=0.5)


def small_task(**options: object) -> DiffusionTask:
    return DiffusionTask(
        vocab_size=5,
        process=partial(UniformProcess, schedule=LogLinearSchedule()),
        backbone=small_network,
        objective=NELBO(),
        sampler=AncestralSampler(steps=4),
        **{"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=1.0), **options},
        lr_schedule=WarmupConstant(),
    )
