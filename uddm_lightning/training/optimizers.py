"""Check, unwrap and restore optimizers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from uddm_lightning.core.errors import InputError
from uddm_lightning.training.lr_schedules import LRSchedule


def strip_parser(optimizer: OptimizerCallable) -> OptimizerCallable:
    """Return a callable of the command line's parser as the class with its arguments.

    The parser's callable holds the parser, which can be neither copied nor pickled; callbacks copy the whole module.
    """
    if isinstance(optimizer, partial) and optimizer.func.__module__.partition(".")[0] == "jsonargparse":
        return partial(optimizer.args[-1], **optimizer.keywords)
    return optimizer


def make_optimizer(make: OptimizerCallable, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a network. A class with the attribute `takes_names` receives pairs of name and parameter.

    Args:
        make: makes it, given the parameters.
        network: the network to train.
    """
    takes_names = getattr(make.func if isinstance(make, partial) else make, "takes_names", False)
    parameters: Any = network.named_parameters() if takes_names else network.parameters()
    return make(parameters)


def check_optimizer(make: OptimizerCallable, network: nn.Module, precision: object) -> None:
    """Make an optimizer and discard it.

    Args:
        make: makes it, given the parameters.
        network: the network to train.
        precision: precision of the trainer.

    Raises:
        InputError: the optimizer refuses its arguments, or would divide by zero in this precision.
    """
    try:
        optimizer = make_optimizer(make, network)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"`model.optimizer` cannot be made: {error}.") from error
    eps = optimizer.defaults.get("eps")
    if precision == "16-true" and isinstance(eps, float) and torch.tensor(eps, dtype=torch.float16) == 0.0:
        raise InputError(
            f"`trainer.precision` is 16-true, in which `eps` of `model.optimizer`, {eps:g}, is 0, and the first step "
            "divides by it. Set `--model.optimizer.init_args.eps 1e-4`, or `--trainer.precision bf16-true`."
        )


def apply_config(
    checkpoint: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], lr_schedule: LRSchedule, max_steps: int
) -> None:
    """Write the configured optimizer settings and learning rate into a checkpoint, in place of the saved ones.

    Args:
        checkpoint: the checkpoint to resume from; changed in place.
        groups: parameter groups of an optimizer with the configured settings.
        lr_schedule: the configured schedule.
        max_steps: optimizer steps of the run.

    Raises:
        InputError: the checkpoint was saved with another optimizer.
    """
    for state, schedule in zip(checkpoint["optimizer_states"], checkpoint["lr_schedulers"], strict=True):
        if "lr_lambdas" not in schedule:
            continue  # a callback uses a schedule of its own
        saved = state["param_groups"]
        if [group.keys() | {"initial_lr"} for group in groups] != [group.keys() for group in saved]:
            raise InputError(
                "`model.optimizer` is another one than that of the checkpoint. Use the run's, or start a new run."
            )
        factor = lr_schedule(schedule["last_epoch"], max_steps)
        for group, old in zip(groups, saved, strict=True):
            new = {name: value for name, value in group.items() if name != "params"}
            old.update(new, initial_lr=group["lr"], lr=group["lr"] * factor)
        schedule["base_lrs"] = [group["initial_lr"] for group in saved]
        schedule["_last_lr"] = [group["lr"] for group in saved]
