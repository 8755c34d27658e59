"""The configs of a sweep over any text, written into the sweep's folder."""

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.yaml_text import from_yaml, to_yaml
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.data import TextFiles
from uddm_lightning.data.sources.files import KINDS
from uddm_lightning.data.text_survey import survey_text
from uddm_lightning.sweeps.text_choices import Machine, choose

BASE = "quickstart"
SETTINGS, SIZES = "text.yaml", "text-sizes.yaml"
SAMPLE = 1024  # bytes that tell text from other files


def expand_text(arguments: list[str], instead: Path | None = None) -> tuple[list[str], str]:
    """Replace `--text` by configs, which are written into the folder of the sweep.

    Settings that an earlier call has written there are used again, because they depend on the speed of the machine and
    a sweep continues with the same settings only.

    Args:
        arguments: arguments of `uddm sweep`.
        instead: folder to write new configs into; None is that of the sweep.

    Returns:
        Arguments without `--text`, and lines that give each choice with its reason; without `--text`, the arguments as
        they are, and nothing.

    Raises:
        InputError: a text cannot be read or is too short, or the folder holds a sweep over another one.
    """
    parser = CommandParser("uddm sweep", add_help=False, allow_abbrev=False)
    parser.add_argument("--text", dest="texts", action="append", default=[])
    parser.add_argument("--out", type=Path)
    given, rest = parser.parse_known_args(arguments)
    if not given.texts:
        return arguments, ""
    out = given.out or Path(f"{Path(given.texts[0]).absolute().stem.strip('*') or 'text'}-sweep")
    settings, sizes = out / SETTINGS, out / SIZES
    paths = [str(Path(pattern).absolute()) for text in given.texts for pattern in _patterns(text)]
    if settings.exists() and sizes.exists():
        before = _paths(from_yaml(settings.read_text(encoding="utf-8")))
        if before != paths:
            raise InputError(f"`{out}` holds a sweep over other text, {before}; give another folder with `--out`.")
        lines = {"settings": f"those of an earlier call, in {settings} and {sizes}"}
    else:
        survey = survey_text(TextFiles(paths, document="paragraph", any_file=True))
        choices = choose(survey, given.texts, Machine.here())
        choices.config["data"]["source"]["init_args"]["paths"] = paths
        settings, sizes = ((instead or out) / name for name in (SETTINGS, SIZES))
        write_text(settings, to_yaml(choices.config))
        write_text(sizes, to_yaml({"sweep": {"sizes": choices.sizes}}))
        lines = dict(choices.reasons)
        if instead is None:
            lines["settings"] = f"in {settings} and {sizes}, laid over the config `{BASE}`"
    width = max(map(len, lines))
    printed = "".join(f"{name:<{width}}  {line}\n" for name, line in lines.items())
    configs = ("-c", BASE, "-c", str(settings), "-c", str(sizes))
    return [*configs, "--out", str(out), *rest], printed


def _paths(config: Any) -> Any:
    try:
        return config["data"]["source"]["init_args"]["paths"]
    except (KeyError, TypeError):  # somebody has edited the file
        return None


def _patterns(text: str) -> Sequence[str]:
    """Return a file or pattern as it is, and for a folder the pattern of the suffix that most of its text has."""
    folder = Path(text).expanduser()
    if not folder.is_dir():
        return [text]
    sizes: Counter[str] = Counter()
    for path in folder.rglob("*"):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not is_hidden and path.is_file() and _is_text(path):
            sizes[path.suffix] += path.stat().st_size
    if not sizes:
        raise InputError(f"`--text {text}`: the folder holds no text file; give one, or a pattern such as `*.md`.")
    suffix = max(sizes, key=lambda one: (sizes[one], one))
    return [f"{glob.escape(str(folder))}/**/*{suffix}"]


def _is_text(path: Path) -> bool:
    if Path(path.name.removesuffix(".gz")).suffix in KINDS:
        return True
    with path.open("rb") as stream:
        sample = stream.read(SAMPLE)
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > SAMPLE - 4  # the sample ends inside a character
    return bool(sample) and b"\0" not in sample
