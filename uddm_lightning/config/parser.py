"""The parser of the configs of `uddm fit`."""

from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from uddm_lightning.config import yaml_text  # noqa: F401 importing it sets how the parser reads and writes YAML
from uddm_lightning.config.messages import explain
from uddm_lightning.core.errors import InputError


class UddmParser(LightningArgumentParser):
    """A parser that reports an error as one message instead of a page of usage."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        parsers = [self, *(getattr(self._subcommands_action, "_name_parser_map", {}) or {}).values()]
        raise InputError(explain(message, [option for parser in parsers for option in parser._actions]))

    @override
    def validate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> None:
        """Take null only where it is one of the values that a key may have; the parser itself accepts it anywhere."""
        super().validate(namespace, *args, **{**kwargs, "skip_unset": False})
