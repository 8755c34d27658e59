"""Resolve the arguments of `uddm fit` to the complete configuration."""

from typing import Any, NamedTuple

import yaml

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

    def _skip(self, subcommand: str = "") -> None:
        pass

    before_instantiate_classes = instantiate_classes = after_instantiate_classes = _skip
    _set_seed = _run_subcommand = _skip


def resolve(arguments: list[str]) -> Resolved:
    """Return the configuration that `uddm fit` with these arguments would write.

    Raises:
        InputError: the arguments are wrong.
    """
    text = run_lightning(["fit", *find_config_options(arguments)], _Resolver).dumped()
    return Resolved(text, yaml.safe_load(text))
