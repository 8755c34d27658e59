"""From the arguments of `uddm fit` to the whole configuration they stand for, and from that to the objects it names."""

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml
from typing_extensions import override

from uddm_lightning.critics import Critic
from uddm_lightning.data import TextDataModule
from uddm_lightning.errors import InputError
from uddm_lightning.lightning_cli import UddmCLI, start
from uddm_lightning.parsing import UddmParser, check_configs, plain
from uddm_lightning.task import DiffusionTask


class Resolved(NamedTuple):
    """A configuration without anything left to be filled in.

    Attributes:
        text: as a run's config.yaml holds it.
        values: the same as plain values.
    """

    text: str
    values: dict[str, Any]


class _Resolver(UddmCLI):
    """Stops where the configuration is known."""

    @override
    def before_instantiate_classes(self) -> None:
        pass

    @override
    def instantiate_classes(self) -> None:
        pass

    @override
    def after_instantiate_classes(self) -> None:
        pass

    @override
    def _set_seed(self) -> None:
        pass

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        pass


def resolve(arguments: list[str]) -> Resolved:
    """The configuration that `uddm fit` with these arguments would write.

    Raises:
        InputError: the arguments are wrong.
    """
    check_configs(arguments)
    given = sys.argv
    try:
        sys.argv = ["uddm", "fit", *arguments]
        text = start(_Resolver).dumped()
    finally:
        sys.argv = given
    return Resolved(text, yaml.safe_load(text))


def load_data(config: dict[str, Any]) -> TextDataModule:
    """The data module of a resolved configuration.

    Raises:
        InputError: its arguments are wrong.
    """
    data = _made(UddmParser.add_class_arguments, TextDataModule, config["data"])
    assert isinstance(data, TextDataModule)
    return data


def load_task(config: dict[str, Any], vocab_size: int) -> DiffusionTask:
    """The model of a resolved configuration, with new weights.

    Raises:
        InputError: its arguments are wrong.
    """
    given = {**config["model"], "vocab_size": vocab_size}
    task = _made(UddmParser.add_class_arguments, DiffusionTask, given)
    assert isinstance(task, DiffusionTask)
    return task


def load_plugin(kind: type, given: Any) -> Any:
    """An object of a subclass of `kind`, from its class path and arguments.

    Raises:
        InputError: the class or its arguments are wrong.
    """
    return _made(UddmParser.add_subclass_arguments, kind, given)


def _made(add: Callable[..., Any], kind: type, given: Any) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # plugins lie where one works, as for training
    parser = UddmParser()
    add(parser, kind, "it")
    try:
        return parser.instantiate(parser.parse_object({"it": given})).it
    except (ValueError, TypeError) as error:
        raise error if isinstance(error, InputError) else InputError(plain(str(error))) from error


def check_critic(config: dict[str, Any], fetch: bool) -> None:
    """Refuses a critic that the runs of a resolved configuration could not have.

    Args:
        config: the configuration.
        fetch: load what the hub has, too, instead of only looking for the packages.

    Raises:
        InputError: with the way out.
    """
    samples = config["samples"]
    if samples["critic"] and samples["enabled"]:
        critic = load_plugin(Critic, samples["critic"])
        critic.load() if fetch else critic.check()


def device_count(devices: object) -> int:
    """How many devices `trainer.devices` asks for; one where it leaves that to Lightning."""
    words = devices if isinstance(devices, list) else str(devices).split(",")
    if len(words) == 1 and not isinstance(devices, list):
        return max(1, int(words[0])) if words[0].strip().lstrip("-").isdigit() else 1
    return len(words)
