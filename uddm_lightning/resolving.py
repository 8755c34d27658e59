"""A configuration as `uddm fit` would see it, without running anything."""

import sys
from typing import Any

import yaml
from typing_extensions import override

from uddm_lightning.data import TextDataModule
from uddm_lightning.errors import InputError
from uddm_lightning.lightning_cli import UddmCLI, start
from uddm_lightning.parsing import UddmParser, check_configs, plain


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


def resolve(arguments: list[str]) -> dict[str, Any]:
    """The configuration that `uddm fit` with these arguments would write, as plain values.

    Raises:
        InputError: the arguments are wrong.
    """
    check_configs(arguments)
    given = sys.argv
    try:
        sys.argv = ["uddm", "fit", *arguments]
        config: dict[str, Any] = yaml.safe_load(start(_Resolver).dumped())
    finally:
        sys.argv = given
    return config


def load_data(config: dict[str, Any]) -> TextDataModule:
    """The data module of a resolved configuration.

    Raises:
        InputError: its arguments are wrong.
    """
    parser = UddmParser()
    parser.add_class_arguments(TextDataModule, "data")
    try:
        data = parser.instantiate(parser.parse_object({"data": config["data"]})).data
    except (ValueError, TypeError) as error:
        raise error if isinstance(error, InputError) else InputError(plain(str(error))) from error
    assert isinstance(data, TextDataModule)
    return data


def device_count(devices: object) -> int:
    """How many devices `trainer.devices` asks for; one where it leaves that to Lightning."""
    words = devices if isinstance(devices, list) else str(devices).split(",")
    if len(words) == 1 and not isinstance(devices, list):
        return max(1, int(words[0])) if words[0].strip().lstrip("-").isdigit() else 1
    return len(words)
