"""The command `uddm validate MODEL`: measure a run or a model of another program as `uddm validate -c` does."""

from pathlib import Path

from uddm_lightning.cli.lightning import run_lightning
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.config_files import find_config_options
from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.convert import convert
from uddm_lightning.interop.hub_folder import CONFIG, HubFolder
from uddm_lightning.interop.open_model import MODEL_HELP, ModelOptions, locate
from uddm_lightning.interop.pretrained_settings import is_pretrained
from uddm_lightning.runs.manifest import find_run_folder


def _parser() -> CommandParser:
    parser = CommandParser("uddm validate", add_help=False, allow_abbrev=False)
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ckpt_path", default="last")
    parser.add_argument("--revision")
    parser.add_argument("-c", "--config", action="append", default=[])
    return parser


def validate(arguments: list[str]) -> int:
    """Run `uddm validate MODEL` and return its exit status. A model of another program becomes a run first.

    Args:
        arguments: the model, `--out RUN` for a foreign model, `-c FILE` with its text, and options of `uddm validate`.

    Raises:
        InputError: the model is of a kind without rows of a corpus, or an argument is wrong.
    """
    given, more = _parser().parse_known_args(arguments)
    path, checkpoint = locate(given.model, ModelOptions(revision=given.revision)), given.ckpt_path
    folder = find_run_folder(path) if path.suffix == ".ckpt" else path.parent if path.name == "config.yaml" else path
    if (folder / "config.yaml").is_file():
        path, checkpoint = folder, str(path) if path.suffix == ".ckpt" else checkpoint
        words = [word for file in given.config for word in ("-c", file)]
        more = [*words, *(["--out", str(given.out)] if given.out else []), *more]
    else:
        if path.is_dir() and (path / CONFIG).is_file() and is_pretrained(HubFolder(path).config):
            raise InputError(
                f"`uddm validate {given.model}` measures rows of a corpus that a run was trained on, and a model of "
                "`transformers` has none. Use `uddm probe` with `--text FILE`, or `uddm audit` with two files."
            )
        if given.out is None:
            raise InputError(
                f"`uddm validate {given.model}` makes a run of the model, which holds the measurements. Give the "
                "folder of this run as `--out RUN`."
            )
        convert(path, given.out, given.config)
        path = given.out
    first = ["validate", "-c", str(path / "config.yaml"), "--ckpt_path", checkpoint]
    run_lightning(find_config_options([*first, *more]))
    return 0
