"""Read options of a sweep from files, such as the sizes of a published study."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.config_files import find_config_options
from uddm_lightning.core.errors import InputError

SECTION = "sweep"
KEYS = ("sizes", "seeds", "budget", "at-steps", "jobs", "backbone", "variant", "launcher")


def expand_files(arguments: list[str]) -> list[str]:
    """Replace files that have the section `sweep` by the options in that section.

    Args:
        arguments: arguments of `uddm sweep`. An option on the command line overrides the same option of a file.

    Returns:
        Arguments without such files.

    Raises:
        InputError: a file has other sections beside `sweep`, or an unknown option.
    """
    parser = CommandParser("uddm sweep", add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", dest="files", action="append", default=[])
    given, rest = parser.parse_known_args(find_config_options(arguments))
    options: list[str] = []
    configs: list[str] = []
    for file in given.files:
        found = _options(Path(file))
        options += found or []
        configs += ["-c", file] if found is None else []
    return [*options, *configs, *rest]


def _options(path: Path) -> list[str] | None:
    """Return the options in a file; None if it is a config of `uddm fit`."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        return None  # the config parser reports the error
    if not isinstance(content, dict) or SECTION not in content:
        return None
    if len(content) > 1 or not isinstance(content[SECTION], dict):
        others = [key for key in content if key != SECTION]
        raise InputError(
            f"`-c {path}`: a file with options of a sweep holds the section `{SECTION}` and nothing else; this one has "
            f"{others or content[SECTION]!r}. Put the rest into a file of its own."
        )
    words: list[str] = []
    for key, value in content[SECTION].items():
        if key not in KEYS:
            raise InputError(f"`-c {path}`: `{SECTION}.{key}` is not an option of a sweep; use {', '.join(KEYS)}.")
        if key == "variant" and isinstance(value, dict):
            value = [f"{name}={json.dumps(options)}" for name, options in value.items()]
        for one in value if key in ("backbone", "variant") and isinstance(value, list) else [value]:
            words += [f"--{key}", ",".join(map(str, one)) if isinstance(one, list) else str(one)]
    return words


def split_launcher_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of the launcher with their values, and the other words."""
    ours: list[str] = []
    others: list[str] = []
    target = others
    for word in words:
        if word.startswith("-"):
            target = ours if word.startswith("--launcher.") else others
        target.append(word)
    return ours, others


def value_of(words: Sequence[str], option: str) -> str | None:
    """Return the last value of an option; None if it is not given."""
    value = None
    for word, following in pairwise([*words, ""]):
        name, _, inline = word.partition("=")
        if name == option:
            value = inline or following
    return value
