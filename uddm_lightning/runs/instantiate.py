"""Instantiate the data, the model and the plugins of a resolved configuration."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from lightning.pytorch.cli import OptimizerCallable
from torch import nn
from torch.optim import Optimizer

from uddm_lightning.config.messages import constructor_error
from uddm_lightning.config.parser import UddmParser
from uddm_lightning.data import TextDataModule
from uddm_lightning.probes import SampleProbe
from uddm_lightning.training.optimizers import make_optimizer, strip_parser
from uddm_lightning.training.task import DiffusionTask

T = TypeVar("T")


def build_data(config: dict[str, Any]) -> TextDataModule:
    """Return the data module of a resolved configuration.

    Raises:
        InputError: its arguments are wrong.
    """
    return _instantiate(UddmParser.add_class_arguments, TextDataModule, "data", config["data"])


def build_task(config: dict[str, Any], vocab_size: int) -> DiffusionTask:
    """Return the model of a resolved configuration, with new weights.

    Raises:
        InputError: its arguments are wrong.
    """
    given = {**config["model"], "vocab_size": vocab_size}
    return _instantiate(UddmParser.add_class_arguments, DiffusionTask, "model", given)


def build_optimizer(given: dict[str, Any], network: nn.Module) -> Optimizer:
    """Return the optimizer of a network from its class path and arguments.

    Raises:
        InputError: the class or its arguments are wrong.
    """
    return make_optimizer(strip_parser(build_plugin(OptimizerCallable, "model.optimizer", given)), network)


def build_plugin(kind: Any, key: str, given: Any) -> Any:
    """Return an object of the type `kind`, a class or a type of callable, from its class path and arguments.

    Args:
        kind: the type.
        key: key of the config, for messages.
        given: class path and arguments.

    Raises:
        InputError: the class or its arguments are wrong.
    """
    return _instantiate(lambda parser, kind, name: parser.add_argument(f"--{name}", type=kind), kind, key, given)


def _instantiate(add: Callable[..., Any], kind: type[T], key: str, given: Any) -> T:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # plugins are imported from the working directory, as in training
    parser = UddmParser()
    add(parser, kind, key)
    try:
        made: T = parser.instantiate(parser.parse_object({key: given}))[key]
        return made
    except (ValueError, TypeError) as error:
        raise constructor_error(error) from error


def check_critic(config: dict[str, Any], fetch: bool) -> None:
    """Check that the critic of a resolved configuration, if any, can be used.

    Args:
        config: the configuration.
        fetch: download and load the model; otherwise only the installed packages are checked.

    Raises:
        InputError: a package is missing, or the model cannot be loaded.
    """
    probe = _instantiate(UddmParser.add_class_arguments, SampleProbe, "samples", config["samples"])
    if probe.enabled and probe.critic:
        probe.critic.load() if fetch else probe.critic.check_requirements()
