"""The parser behind every command, and what it says when something is wrong."""

import argparse
import re
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from uddm_lightning.errors import InputError

# Lightning has arguments whose defaults are members of an enumeration of strings; the parser would not write them down.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


class UddmParser(LightningArgumentParser):
    """A parser whose errors are one message for people instead of a page of usage."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise InputError(plain(message))

    @override
    def validate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> None:
        """Takes null only where it is one of the values that a key may have; the parser itself lets it pass."""
        super().validate(namespace, *args, **{**kwargs, "skip_unset": False})


class Arguments(argparse.ArgumentParser):
    """For commands with options of their own; complains in one message, too."""

    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}")


def plain(message: str) -> str:
    """Cuts a parser's report down to what the user can act on."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    text = " ".join(dict.fromkeys(lines))
    text = re.sub(r"\s+", " ", text).strip()
    # a name in a damaged or hostile file is shown, and tells the terminal nothing
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def check_configs(arguments: list[str]) -> None:
    """The parser knows what is wrong in a YAML file, but not in which.

    Raises:
        InputError: a file given by `-c` cannot be read as YAML.
    """
    for option, value in pairwise([*arguments, ""]):
        name, _, inline = option.partition("=")
        path = Path(inline or value)
        if name not in ("-c", "--config") or not path.is_file():
            continue
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"`{option} {path}` is not valid YAML: {plain(str(error))}") from error
