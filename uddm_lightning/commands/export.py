"""The command `uddm export`: the weights of a run for those who do not have this program."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from uddm_lightning import __version__
from uddm_lightning.backbones import DiT
from uddm_lightning.config.parser import CommandParser
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_atomically, write_text
from uddm_lightning.interop.exported import CARD, CONFIG, FORMAT, TOKENIZER, WEIGHTS, safetensors
from uddm_lightning.interop.model_card import card
from uddm_lightning.runs.load import LoadedModel, load


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="uddm export",
        description="Writes the weights of a checkpoint as safetensors, with a JSON config, the tokenizer where it is "
        "at hand without asking anybody, and a model card that says what was measured of it. "
        "`uddm_lightning.interop.load_exported(FOLDER)` gives the network back.",
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
    trained = load(Path(given.config), given.ckpt_path, device="cpu")
    task = trained.task
    backbone = task.ema.backbone if given.weights == "ema" else task.backbone
    if not isinstance(backbone, DiT):
        raise InputError(f"`model.backbone` is {type(backbone).__name__}, and only {DiT.__name__} is exported.")
    tokenizer = _tokenizer(trained)
    config = _config(trained, backbone, given.weights, tokenizer is not None)
    _write(library, folder, backbone.state_dict(), config, tokenizer)
    write_text(folder / CARD, card(config, trained.run))
    sys.stdout.write(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}\n")
    return 0


def _tokenizer(trained: LoadedModel) -> str | None:
    """The run's tokenizer, as a tokenizer.json; None where it would have to be downloaded or learned first."""
    if (corpus := trained.corpus()) is not None:
        return corpus.tokenizer.to_json()
    path = trained.run / TOKENIZER  # which came along with a converted model
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _config(trained: LoadedModel, backbone: DiT, weights: str, tokenizer: bool) -> dict[str, Any]:
    task, schedule = trained.task, trained.task.process.schedule
    network = {
        "hidden_size": backbone.vocab_embed.embedding.shape[1],
        "n_blocks": len(backbone.blocks),
        "n_heads": backbone.blocks[0].n_heads,
        "cond_dim": backbone.output_layer.adaLN_modulation.in_features,
    }
    return {
        "format": FORMAT,
        "name": task.backbone_name,
        "vocab_size": task.process.vocab_size,
        "states": task.process.num_states,  # ids in noisy text: one more where there is a mask
        "length": trained.length,
        "architecture": {"class": DiT.__name__, **network},
        "parameters": task.parameter_count,
        "process": {
            "class": type(task.process).__name__,
            "schedule": {"class": type(schedule).__name__, "eps": schedule.eps},
        },
        "prediction": task.parameterization.value,
        "weights": weights,
        "step": trained.step,
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
