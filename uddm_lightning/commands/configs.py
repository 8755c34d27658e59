"""The command `uddm configs`: the configs that this package ships."""

import argparse
import sys

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.config_files import describe_config, find_config, shipped_configs
from uddm_lightning.core.errors import InputError, suggest


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm configs",
        description="Lists the configs that this package ships, or prints one of them. Every command takes their\n"
        "names: `uddm fit -c quickstart`. To change one, save it: `uddm configs quickstart > my.yaml`.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="config to print; default: list all")
    parser.add_argument("--path", action="store_true", help="print the path of the file instead of its content")
    return parser


def configs(arguments: list[str]) -> int:
    """Run `uddm configs` and return its exit status.

    Raises:
        InputError: there is no config of that name.
    """
    given = _parser().parse_args(arguments)
    shipped = shipped_configs()
    if given.name is None and given.path:
        raise InputError("`--path` needs the name of a config; `uddm configs` lists them.")
    if given.name is None:
        width = max(map(len, shipped))
        lines = [f"{name:<{width}}  {describe_config(path)}" for name, path in shipped.items()]
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    path = find_config(given.name)
    if not path.is_file():
        raise InputError(f"`uddm configs {given.name}`: there is no such config{suggest(given.name, shipped)}")
    sys.stdout.write(f"{path}\n" if given.path else path.read_text(encoding="utf-8"))
    return 0
