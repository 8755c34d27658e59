"""Resolve the arguments of `uddm fit` to the whole configuration that they stand for."""

import sys
from typing import Any, NamedTuple

import yaml
from typing_extensions import override

from uddm_lightning.cli.lightning import UddmCLI, start
from uddm_lightning.config.parser import check_configs


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
