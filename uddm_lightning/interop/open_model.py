"""Open any model that can be measured: a run, a foreign checkpoint, a folder in the hub's layout, or a hub name."""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.interop.checkpoint_series import NO_TEXT
from uddm_lightning.interop.convert import convert
from uddm_lightning.interop.download import download, is_hub_name
from uddm_lightning.interop.gidd import is_gidd
from uddm_lightning.interop.hub_folder import CONFIG, HubFolder
from uddm_lightning.interop.kept_folders import keep_folder
from uddm_lightning.interop.pretrained import load_pretrained
from uddm_lightning.interop.pretrained_settings import PretrainedOptions, is_pretrained
from uddm_lightning.runs.manifest import converted_from, find_run_folder
from uddm_lightning.runs.run import Run, load_run

MODEL_HELP = (
    "a run's folder, its config.yaml or a checkpoint in it; a checkpoint in Duo's layout, a folder in the layout of "
    "the Hugging Face hub, or OWNER/NAME on the hub"
)


class ModelOptions(NamedTuple):
    """How to open a model.

    Attributes:
        ckpt_path: of a run: "last", "previous" or a path.
        weights: "ema" or "raw"; models of the hub have one set.
        device: such as "cuda:1"; None takes a GPU where there is one.
        steps: of the reverse chain; None takes the model's.
        revision: of a model on the hub: branch, tag or commit.
        trust_remote_code: run the code of a folder, if `transformers` lacks its network.
        prompt: text before the canvas of DiffusionGemma.
        length: positions of a row of a masked model of `transformers`.
    """

    ckpt_path: str = "last"
    weights: Any = "ema"
    device: str | None = None
    steps: int | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    prompt: str | None = None
    length: int | None = None

    @classmethod
    def of(cls, given: Any) -> "ModelOptions":
        """Return the options in parsed arguments; missing ones have their defaults."""
        return cls(**{name: value for name, value in vars(given).items() if name in cls._fields})


DEFAULT_OPTIONS = ModelOptions()


def add_model_options(parser: CommandParser, shown: bool = True) -> None:
    """Add the options for models of the hub to the parser of a command; its help leaves them out if not `shown`."""
    helps = {
        "revision": "branch, tag or commit of OWNER/NAME; default: the main branch",
        "prompt": "text before the canvas of DiffusionGemma; default: none",
        "length": "tokens of a row of a masked language model",
        "trust-remote-code": "run the Python code of the model, if transformers does not have its network",
    }
    texts = {name: text if shown else argparse.SUPPRESS for name, text in helps.items()}
    group = parser.add_argument_group("models of the hub")
    group.add_argument("--revision", help=texts["revision"])
    group.add_argument("--prompt", metavar="TEXT", help=texts["prompt"])
    group.add_argument("--length", type=int, metavar="L", help=texts["length"])
    group.add_argument("--trust-remote-code", action="store_true", help=texts["trust-remote-code"])


class Opened(NamedTuple):
    """A model that can be measured.

    Attributes:
        run: the model.
        path: folder or config with which `load_run` loads it again; None for a network of `transformers`.
        ckpt_path: its checkpoint, for `load_run`.
    """

    run: Run
    path: Path | None
    ckpt_path: str = "last"


def open_model(model: str | Path, options: ModelOptions = DEFAULT_OPTIONS) -> Run:
    """Return a model that can be measured; see `open_source`."""
    return open_source(model, options).run


def open_source(model: str | Path, options: ModelOptions = DEFAULT_OPTIONS) -> Opened:
    """Open a model. Notes about a model of another program are written to the standard error.

    A foreign model is converted in a folder that exists until the process ends. A model of `transformers` is read as it
    is stored.

    Args:
        model: run, checkpoint, folder in the hub's layout, or OWNER/NAME.
        options: how to open it.

    Raises:
        InputError: there is no such model, it is damaged or of an unknown kind, or an option does not suit it.
    """
    path = locate(model, options)
    folder = find_run_folder(path) if path.suffix == ".ckpt" else path
    if path.suffix == ".ckpt" and (folder / "config.yaml").is_file():
        path, options = folder, options._replace(ckpt_path=str(path))
    elif is_hub_name(str(model)) or path.suffix == ".ckpt" or _is_hub_folder(path):
        if options.ckpt_path != "last":
            raise InputError(f"`--ckpt_path {options.ckpt_path}` is for runs, and `{model}` is none.")
        if path.is_dir() and options.weights == "raw":
            raise InputError(f"`--weights raw`: `{model}` has one set of weights. Leave out the option.")
        if path.is_dir() and _is_stored((hub := HubFolder(path)).config, options.trust_remote_code):
            return Opened(_open_pretrained(hub, options), None)
        _check_unused(model, options)
        path = _converted(path)
    _check_unused(model, options)
    run = load_run(path, options.ckpt_path, options.weights, options.device, options.steps)
    return Opened(run, path, options.ckpt_path)


def is_foreign(folder: Path) -> bool:
    """Return whether the model of a folder was trained elsewhere, so that its training rows are not known."""
    return converted_from(folder) is not None or not (folder / "config.yaml").is_file()


def locate(model: str | Path, options: ModelOptions) -> Path:
    """Return the path of a model; one on the hub is downloaded.

    Raises:
        InputError: the model on the hub cannot be had, or a revision is given for a path.
    """
    if is_hub_name(str(model)):
        return download(str(model), options.revision, options.trust_remote_code).folder
    if options.revision is not None:
        raise InputError(f"`--revision {options.revision}` is for OWNER/NAME on the hub; `{model}` is a path.")
    return Path(model)


def _open_pretrained(folder: HubFolder, options: ModelOptions) -> Run:
    choices = PretrainedOptions(
        options.device, options.steps, options.trust_remote_code, options.prompt, options.length
    )
    found = load_pretrained(folder, choices)
    _note(folder.path, found.notes)
    return Run(found.model, options.weights, found.batch)


def _is_stored(config: dict[str, Any], trust_remote_code: bool) -> bool:
    """Return whether a model is measured as it is stored, without a conversion."""
    return is_gidd(config) or is_pretrained(config, trust_remote_code)


def _is_hub_folder(path: Path) -> bool:
    return (path / CONFIG).is_file() and not (path / "config.yaml").is_file()


def _converted(path: Path) -> Path:
    """Return the folder of a run that is made of a model of another program."""
    folder = keep_folder()
    configs = []
    if path.is_file():  # entropy on own samples needs no text, so that the text of a checkpoint need not be known
        configs = [str(folder / "text.yaml")]
        write_text(Path(configs[0]), NO_TEXT)
    made = convert(path, folder / "run", configs)
    assumed = [f"not in it, so the usual values are assumed: {', '.join(made.assumed)}"] if made.assumed else []
    _note(path, [f"{made.layout}, {made.parameters:,} parameters, {made.vocab_size:,} ids", *made.notes, *assumed])
    return folder / "run"


def _check_unused(model: str | Path, options: ModelOptions) -> None:
    for name in ("prompt", "length"):
        if getattr(options, name) is not None:
            raise InputError(f"`--{name}` is for models of `transformers`, and `{model}` is none.")


def _note(path: Path, notes: list[str]) -> None:
    sys.stderr.write("".join(f"{path.name}: {note}\n" for note in notes))
