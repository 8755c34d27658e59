"""The command `uddm export`: the weights of a run for those who do not have this program."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from torch import Tensor

from uddm_lightning import __version__, checkpoints
from uddm_lightning.backbones import DiT
from uddm_lightning.conversion.card import card
from uddm_lightning.conversion.exported import ARCHITECTURE, CARD, CONFIG, FORMAT, TOKENIZER, WEIGHTS, safetensors
from uddm_lightning.data.corpus import cache_folder
from uddm_lightning.data.spec import digest
from uddm_lightning.errors import InputError
from uddm_lightning.files import write_atomically, write_text
from uddm_lightning.parsing import Arguments, check_configs
from uddm_lightning.resolving import load_task
from uddm_lightning.run_folder import of_checkpoint, read_manifest
from uddm_lightning.task import DiffusionTask


def _parser() -> Arguments:
    parser = Arguments(
        prog="uddm export",
        description="Writes the weights of a checkpoint as safetensors, with a JSON config, the tokenizer where it is "
        "at hand without asking anybody, and a model card that says what was measured of it. "
        "`uddm_lightning.conversion.load_exported(FOLDER)` gives the network back.",
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", required=True, metavar="RUN/config.yaml", help="config of the run")
    parser.add_argument("--ckpt_path", required=True, metavar="CKPT", help="a file, last or previous")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (default) or trained ones")
    return parser


def export(arguments: list[str]) -> int:
    """Runs `uddm export`; returns its exit status.

    Raises:
        InputError: the arguments, the config or the checkpoint are wrong, or the folder is not empty.
    """
    given = _parser().parse_args(arguments)
    library = safetensors()
    folder = Path(given.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"`{folder}` is there already, and nothing in it is overwritten. Choose another `--out`.")
    values = _read(Path(given.config))
    path = checkpoints.resolve(given.ckpt_path, Path(given.config).parent)
    found = checkpoints.load(path)
    vocab_size = found["hyper_parameters"].get("vocab_size")
    if type(vocab_size) is not int:
        raise InputError(f"`--ckpt_path {path}` does not say how many ids its vocabulary has.")
    task = load_task(values, vocab_size)
    checkpoints.check_fits(path, task)
    if not isinstance(task.backbone, DiT):
        raise InputError(f"`model.backbone` is {type(task.backbone).__name__}, and only {DiT.__name__} is exported.")
    prefix = "ema.backbone." if given.weights == "ema" else "backbone."
    weights = {
        name.removeprefix(prefix): value.contiguous()
        for name, value in found["state_dict"].items()
        if name.startswith(prefix)
    }
    run = of_checkpoint(path)
    tokenizer = _tokenizer(values, run)
    config = _config(task, values, given.weights, found["global_step"], tokenizer is not None)
    _write(library, folder, weights, config, tokenizer)
    write_text(folder / CARD, card(config, run))
    sys.stdout.write(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}\n")
    return 0


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"`-c {path}`: there is no such file. Give the `config.yaml` of a run.")
    check_configs(["-c", str(path)])
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or not all(isinstance(values.get(name), dict) for name in ("model", "data")):
        raise InputError(f"`-c {path}` is no `config.yaml` of a run: it has no sections `model` and `data`.")
    return values


def _tokenizer(values: dict[str, Any], run: Path) -> str | None:
    """The run's tokenizer, as a tokenizer.json; None where it would have to be downloaded or learned first."""
    wanted = read_manifest(run).get("tokenizer")
    cached = cache_folder(values["data"].get("cache_dir")).glob(f"*/{TOKENIZER}")
    for path in (run / TOKENIZER, *cached):
        with suppress(OSError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
            if digest(text.encode()) == wanted or (wanted is None and path.parent == run):
                return text
    return None


def _config(task: DiffusionTask, values: dict[str, Any], weights: str, step: int, tokenizer: bool) -> dict[str, Any]:
    network = values["model"]["backbone"]["init_args"]
    schedule = task.process.schedule
    return {
        "format": FORMAT,
        "name": task.backbone_name,
        "vocab_size": task.process.vocab_size,
        "states": task.process.states,  # ids in noisy text: one more where there is a mask
        "length": values["data"]["packing"]["init_args"]["length"],
        "architecture": {"class": DiT.__name__, **{name: network[name] for name in ARCHITECTURE}},
        "parameters": task.parameter_count,
        "process": {
            "class": type(task.process).__name__,
            "schedule": {"class": type(schedule).__name__, "eps": schedule.eps},
        },
        "prediction": task.predicts.value,
        "weights": weights,
        "step": step,
        "tokenizer": TOKENIZER if tokenizer else None,
        "written_by": f"uddm_lightning {__version__}",
    }


def _write(
    library: ModuleType, folder: Path, weights: dict[str, Tensor], config: dict[str, Any], tokenizer: str | None
) -> None:
    about = {"format": "pt"}  # which readers of safetensors ask for
    write_atomically(folder / WEIGHTS, lambda temporary: library.save_file(weights, str(temporary), metadata=about))
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    if tokenizer is not None:
        write_text(folder / TOKENIZER, tokenizer)
