"""Config files by path or by name: the ones that this package ships are found by name."""

from pathlib import Path

import yaml

from uddm_lightning.core.errors import InputError, sanitize_message, suggest

OPTIONS = ("-c", "--config")
PACKAGE = Path(__file__).parents[1]


def config_folder() -> Path:
    """Return the folder of the shipped configs: in the installed package, or beside it in a checkout."""
    packaged = PACKAGE / "configs"
    return packaged if packaged.is_dir() else PACKAGE.parent / "configs"


def shipped_configs() -> dict[str, Path]:
    """Return the paths of all shipped configs by their names, such as `quickstart` or `paper/lm1b_tiny`."""
    folder = config_folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_config(name: str) -> Path:
    """Return the path of a config: `name` itself if it exists, else the shipped config of that name, else `name`."""
    path = Path(name)
    return path if path.exists() else shipped_configs().get(name.removesuffix(".yaml"), path)


def describe_config(path: Path) -> str:
    """Return the comment on the first line of a config; empty if it has none."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").rstrip(".") if first.startswith("#") else ""


def find_config_options(arguments: list[str]) -> list[str]:
    """Return the arguments with the name of a shipped config after `-c` replaced by its path.

    Raises:
        InputError: a config does not exist, or is not valid YAML. The parser would not say which file.
    """
    found, previous = [], ""
    for word in arguments:
        option, is_inline, value = word.partition("=")
        if option in OPTIONS and is_inline:
            word = f"{option}={find_valid_config(option, value)}"
        elif previous in OPTIONS:
            word = str(find_valid_config(previous, word))
        found.append(word)
        previous = word
    return found


def find_valid_config(option: str, name: str) -> Path:
    """Return the path of a config that an option gives by its path or, if this package ships it, by its name.

    Raises:
        InputError: the config does not exist, or is not valid YAML; the message names the option.
    """
    path = find_config(name)
    if not path.exists() and not set(name) & set(":{\n"):  # the parser takes YAML in the place of a file, too
        near = suggest(name, shipped_configs())
        raise InputError(f"`{option} {name}`: no such file, and no shipped config{near} `uddm configs` lists them.")
    if path.is_file():
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"`{option} {path}` is not valid YAML: {sanitize_message(str(error))}") from error
    return path
