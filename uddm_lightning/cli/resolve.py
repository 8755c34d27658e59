"""Resolve the arguments of `uddm fit` to the complete configuration."""

from typing import Any, NamedTuple

import yaml
from typing_extensions import override

from uddm_lightning.cli.lightning import UddmCLI, run_lightning
from uddm_lightning.config.config_files import find_config_options


class Resolved(NamedTuple):
    """A complete configuration.

    Attributes:
        text: as a run's config.yaml holds it.
        values: the same as plain values.
    """

    text: str
    values: dict[str, Any]


class _Resolver(UddmCLI):
    """Stops as soon as the configuration is known."""

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
    """Return the configuration that `uddm fit` with these arguments would write.

    Raises:
        InputError: the arguments are wrong.
    """
    text = run_lightning(["fit", *find_config_options(arguments)], _Resolver).dumped()
    return Resolved(text, yaml.safe_load(text))
