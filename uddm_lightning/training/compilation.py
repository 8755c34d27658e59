"""Compile network, loss and noise for training."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn
from typing_extensions import override

from uddm_lightning.backbones import Backbone
from uddm_lightning.core.batch import Noised, TokenBatch
from uddm_lightning.objectives import Objective
from uddm_lightning.processes import Process

CompileOption = bool | Literal["auto"]
WORTHWHILE_STEPS = 1000  # compiling takes as long as hundreds of steps of a small network
SMALL_PARAMETERS = 10_000_000  # a step of a smaller network takes less time than the launches of its kernels


class TrainingCompiler:
    """Decides whether a run is compiled, and compiles network, loss and noise.

    Args:
        option: True or False decides; "auto" compiles on CUDA if Triton is installed, the network can be compiled as
            one graph and the run is long enough.

    Attributes:
        is_active: whether the network is compiled.
    """

    def __init__(self, option: CompileOption) -> None:
        self.option = option
        self.is_active = False
        self._corrupt: Callable[[Objective, Process, TokenBatch], Noised] = _corrupt

    @override
    def __getstate__(self) -> dict[str, Any]:
        # a compiled function can be neither copied nor pickled, and modules are copied without theirs
        return {"option": self.option, "is_active": False, "_corrupt": _corrupt}

    def start(self, backbone: Backbone, process: Process, trainer: Any) -> None:
        """Compile network, loss and noise in place, if it is worthwhile.

        With several processes, blocks are compiled one by one: the gradients of one block are exchanged while those of
        the next are computed.

        Args:
            backbone: the network.
            process: forward process, which holds the loss.
            trainer: Lightning's trainer; it knows the device, the number of steps and of their micro-batches.
        """
        device, parallel = trainer.strategy.root_device, trainer.world_size > 1
        if not self._is_worthwhile(backbone, device, trainer.max_steps):
            return
        replays = device.type == "cuda" and not parallel and trainer.accumulate_grad_batches == 1 and is_small(backbone)
        blocks = getattr(backbone, "blocks", None)
        for module in blocks if parallel and isinstance(blocks, nn.ModuleList) else [backbone]:
            # a CUDA graph overwrites the gradients of its last replay, so that a step must follow each backward pass
            module.compile(fullgraph=backbone.capturable, mode="reduce-overhead" if replays else None)
        process.compile()
        self._corrupt = torch.compile(_corrupt)
        self.is_active = True

    def _is_worthwhile(self, backbone: Backbone, device: torch.device, steps: int) -> bool:
        if self.option != "auto":
            return self.option
        is_long = steps < 0 or steps >= WORTHWHILE_STEPS
        return device.type == "cuda" and backbone.capturable and is_long and find_spec("triton") is not None

    def corrupt(self, objective: Objective, process: Process, batch: TokenBatch) -> Noised:
        """Return the noisy rows of a training step, in one compiled call; see `Objective.corrupt`."""
        if type(objective).corrupt is not Objective.corrupt:
            return objective.corrupt(process, batch)  # may depend on the step, for which it would be compiled again
        return self._corrupt(objective, process, batch._replace(seed=0, step=0))


def is_small(backbone: Backbone) -> bool:
    """Return whether launching the kernels of a network takes longer than running them."""
    return sum(parameter.numel() for parameter in backbone.parameters()) <= SMALL_PARAMETERS


def _corrupt(objective: Objective, process: Process, batch: TokenBatch) -> Noised:
    return objective.corrupt(process, batch)
