"""The command `uddm convert`: a checkpoint in Duo's layout becomes a run."""

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import yaml
from lightning import __version__ as lightning_version
from tqdm import tqdm

from uddm_lightning.cli.resolve import Resolved, resolve
from uddm_lightning.config.command_parser import CommandParser
from uddm_lightning.config.config_files import find_config, find_config_options
from uddm_lightning.config.yaml_text import to_yaml
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.interop.duo import DuoCheckpoint
from uddm_lightning.interop.duo_config import DuoConfig, recipe
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs import folder as run_folder
from uddm_lightning.runs.instantiate import build_task
from uddm_lightning.training.task import DiffusionTask

DESCRIPTION = """\
Imports a checkpoint in the layout of s-sahoo/duo as a run, with its raw and its averaged
weights, so that it can be measured like any other run. Nothing in the file is imported or executed,
so files of any origin are safe to read.

If the file names a known corpus, that corpus is used. For any other text, give a YAML file with it,
as in a config of `uddm fit`:

  data:
    source: {class_path: TextFiles, init_args: {paths: my.txt}}

The tokenizer must be the one that the model was trained with.
"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm convert",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FOREIGN.ckpt", help="the checkpoint")
    parser.add_argument("--out", required=True, metavar="RUN", help="folder of the new run")
    parser.add_argument("--name", metavar="NAME", help="what results call the model; default: the file's `model.name`")
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="FILE", help="YAML laid over what the file says"
    )
    parser.add_argument(
        "--size",
        metavar="N",
        help="rows, or fraction of the pool, that count as training rows; default: the file's `data.subset`, else all",
    )
    parser.add_argument("--seed", metavar="S", help="of the subset and of the noise; default: the file's `seed`")
    return parser


def convert(arguments: list[str]) -> int:
    """Runs `uddm convert`; returns its exit status.

    Raises:
        InputError: the arguments or the file are wrong, or there is a run already.
    """
    given = _parser().parse_args(arguments)
    path, folder = Path(given.file), Path(given.out)
    if not path.is_file():
        raise InputError(f"`{path}`: there is no such file. Give the path of a checkpoint.")
    files = [str(find_config(file)) for file in given.config]
    overrides = find_config_options([word for file in files for word in ("-c", file)])
    for key, value in (
        ("model.backbone_name", given.name),
        ("data.train_size", given.size),
        ("seed_everything", given.seed),
    ):
        overrides += [f"--{key}", value] if value is not None else []
    foreign = DuoCheckpoint(path)
    with run_folder.lock_run(folder):
        run_folder.check_unused(folder, "")
        tokenizer = _write_tokenizer(foreign, folder)
        made = recipe(foreign, _data_of(files), tokenizer)
        resolved = _resolve(made, [*overrides, "--out", given.out])
        task = _task(foreign, resolved)
        run_folder.write_manifest(folder, _manifest(foreign, made))
        write_text(folder / "config.yaml", resolved.text)
        _write_checkpoint(foreign, resolved, task, run_folder.checkpoint(folder, "last"))
    _tell(foreign, made, task, folder)
    return 0


def _data_of(files: list[str]) -> dict[str, Any]:
    """What YAML files say of the data; whether it makes sense is for the parser to tell."""
    found: dict[str, Any] = {}
    for file in files:
        if not Path(file).is_file():
            raise InputError(f"`--config {file}`: there is no such file.")
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        data = content.get("data") if isinstance(content, dict) else None
        if isinstance(data, str) and (part := Path(file).parent / data).is_file():  # a section may be a file of its own
            find_config_options(["-c", str(part)])
            data = yaml.safe_load(part.read_text(encoding="utf-8"))
        found.update(data if isinstance(data, dict) else {})
    return found


def _resolve(made: DuoConfig, overrides: list[str]) -> Resolved:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "converted.yaml"
        write_text(path, to_yaml(made.config))
        return resolve(["-c", str(path), *overrides])


def _task(foreign: DuoCheckpoint, resolved: Resolved) -> DiffusionTask:
    """The model with both kinds of weights."""
    longest, length = foreign.settings.whole("model.length"), resolved.values["data"]["packing"]["init_args"]["length"]
    if longest is not None and length > longest:
        raise InputError(
            f"`data.packing.length` is {length}, and `{foreign.path}` was trained on rows of {longest}; give at most "
            "that."
        )
    task = build_task(resolved.values, foreign.vocab_size)
    shapes = {name: tuple(parameter.shape) for name, parameter in task.backbone.named_parameters()}
    if shapes != {name: stored.shape for name, stored in foreign.raw.items()}:
        raise InputError(f"`--config` describes another network in `model.backbone` than `{foreign.path}` holds.")
    foreign.copy(foreign.raw, task.backbone)
    foreign.copy(foreign.averaged, task.ema.backbone)
    return task


def _write_tokenizer(foreign: DuoCheckpoint, folder: Path) -> Path | None:
    """Keeps the tokenizer that came along in the run's folder, by an absolute path."""
    if foreign.tokenizer is None:
        return None
    try:
        found = tokenizers.Tokenizer.from_str(foreign.tokenizer)
        size = max(found.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"`{foreign.path}` cannot be converted: its tokenizer is damaged ({error}).") from error
    if size > foreign.vocab_size:
        raise InputError(
            f"`{foreign.path}` cannot be converted: its tokenizer has {size} ids, its network {foreign.vocab_size}."
        )
    path = folder.absolute() / "tokenizer.json"
    write_text(path, foreign.tokenizer)
    return path


def _manifest(foreign: DuoCheckpoint, made: DuoConfig) -> dict[str, Any]:
    """Where the run comes from. Of the text it was trained on, only the name is known."""
    names = ("data.train", "data.subset", "data.tokenizer_name_or_path", "algo.name")
    converted = {
        "file": foreign.path.name,
        "sha256": _sha256(foreign.path),
        "layout": "s-sahoo/duo",
        "said_of_training": {name: foreign.settings[name] for name in names},
        "supposed": made.supposed,
        "left_out": foreign.left_out,
        "note": "The rows called train are of the text given here; whether the network has seen them is not known.",
    }
    return {run_folder.CONVERTED: converted, "trained_steps": foreign.step}


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    bar = tqdm(total=path.stat().st_size, desc="SHA-256", unit="B", unit_scale=True, delay=2, leave=False)
    with path.open("rb") as file, bar:
        while piece := file.read(2**20):
            found.update(piece)
            bar.update(len(piece))
    return found.hexdigest()


def _write_checkpoint(foreign: DuoCheckpoint, resolved: Resolved, task: DiffusionTask, path: Path) -> None:
    """Writes the weights as `fit` would have."""
    values = resolved.values
    instantiator = "lightning.pytorch.cli.instantiate_module"  # by which Lightning knows settings of a command line
    settings = {"seed": values["seed_everything"], "vocab_size": foreign.vocab_size, "_instantiator": instantiator}
    checkpoint = {
        "epoch": 0,
        "global_step": foreign.step,
        "pytorch-lightning_version": lightning_version,
        "state_dict": task.state_dict(),
        "hparams_name": "kwargs",
        "hyper_parameters": {**values["model"], **settings},
    }
    checkpoints.AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def _tell(foreign: DuoCheckpoint, made: DuoConfig, task: DiffusionTask, folder: Path) -> None:
    lines = [
        f"{foreign.path.name}: {task.parameter_count:,} parameters, {foreign.vocab_size:,} ids, step {foreign.step:,}, "
        + (f"averaged weights with decay {foreign.ema_decay:g}" if foreign.ema_decay else "NO averaged weights")
    ]
    if made.supposed:
        lines.append(f"taken as usual, for the file does not say: {', '.join(made.supposed)}")
    if foreign.left_out:
        lines.append(f"left out: {', '.join(foreign.left_out[:8])}{' ...' if len(foreign.left_out) > 8 else ''}")
    lines.append("Whether it was trained on the rows it is measured on here is not known.")
    lines.append(f"measure it: uddm validate -c {folder / 'config.yaml'} --ckpt_path last")
    sys.stdout.write("\n".join(lines) + "\n")
