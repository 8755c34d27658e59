"""The parser behind every command, and what it says when something is wrong."""

import argparse
import re
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace, get_loader, set_dumper, set_loader
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from uddm_lightning.core.errors import InputError

FOLDED = "\x85\u2028\u2029"  # line ends of YAML 1.1, which only double quotes keep

_parsed = get_loader("yaml")


def _load(text: str) -> Any:
    """As the parser's own loader, but a value on the command line is never taken for a comment or an empty mapping."""
    try:
        value = _parsed(text)
    except (TypeError, ValueError):  # for `?` the loader sees a key without a name, for `._` a number
        return text
    if isinstance(value, str) and not text.lstrip().startswith(("'", '"', "|", ">")):
        return text  # a plain text in YAML has its odd line ends folded
    nothing = value is None and text.strip().startswith(("#", "&", "!")) and len(text.splitlines()) == 1
    return text if nothing else value


class _Dumper(yaml.SafeDumper):
    """Quotes a string that would be read as something else: the parser takes 1e3 for a number, PyYAML does not."""

    def text(self, value: str) -> yaml.ScalarNode:
        """The node of a string."""
        try:
            same = isinstance(_parsed(value), str)
        except (yaml.YAMLError, TypeError, ValueError):
            same = False
        style = '"' if set(value) & set(FOLDED) else None if same else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _Dumper.text)
# Lightning has arguments whose defaults are members of an enumeration of strings; the parser would not write them down.
_Dumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


def from_yaml(text: str) -> Any:
    """Reads a text in YAML as the parser does.

    Raises:
        yaml.YAMLError: it is none.
    """
    return _parsed(text)


def to_yaml(content: Any) -> str:
    """A text in YAML that both the parser and PyYAML read as `content`."""
    text: str = yaml.dump(content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text


# of the whole process: the parser offers no loader or dumper of its own
set_loader("yaml", _load, (yaml.YAMLError,))
set_dumper("yaml", to_yaml)


class UddmParser(LightningArgumentParser):
    """A parser whose errors are one message for people instead of a page of usage."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise InputError(sanitize_message(message))

    @override
    def validate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> None:
        """Takes null only where it is one of the values that a key may have; the parser itself lets it pass."""
        super().validate(namespace, *args, **{**kwargs, "skip_unset": False})


class CommandParser(argparse.ArgumentParser):
    """For commands with options of their own; complains in one message, too."""

    @override
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}")


def sanitize_message(message: str) -> str:
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
            raise InputError(f"`{option} {path}` is not valid YAML: {sanitize_message(str(error))}") from error
