"""Export a model as safetensors, JSON, tokenizer and model card, and upload it to the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors.torch import save_file

from uddm_lightning import __version__
from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError, first_line
from uddm_lightning.core.files import write_atomically, write_text
from uddm_lightning.interop.exported import CARD, CONFIG, FORMAT, TOKENIZER, WEIGHTS
from uddm_lightning.interop.model_card import card
from uddm_lightning.runs.run import Run


def export(run: Run, folder: Path) -> list[str]:
    """Write the weights of a run as safetensors, with config.json, tokenizer.json and a model card.

    The tokenizer is left out if it would have to be downloaded or learned first.

    Args:
        run: weights and settings; its `weights` are exported.
        folder: to write to; it must be empty or missing.

    Returns:
        Names of the files.

    Raises:
        InputError: the folder is not empty, or the backbone is not a `DiT`.
    """
    check_empty(folder)
    task = run.model.task
    backbone = task.ema.backbone if run.weights == "ema" else task.backbone
    if not isinstance(backbone, DiT):
        raise InputError(f"`model.backbone` is {type(backbone).__name__}, and only {DiT.__name__} is exported.")
    tokenizer = _tokenizer_json(run)
    config = _config(run, backbone, tokenizer is not None)
    weights, about = backbone.state_dict(), {"format": "pt"}  # readers of safetensors expect this entry
    write_atomically(folder / WEIGHTS, lambda temporary: save_file(weights, str(temporary), metadata=about))
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    if tokenizer is not None:
        write_text(folder / TOKENIZER, tokenizer)
    write_text(folder / CARD, card(config, run.folder))
    return sorted(file.name for file in folder.iterdir())


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds files.

    Raises:
        InputError: it does, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"`{folder}` exists and is not empty; nothing is overwritten. Choose another `--out`.")


def push(folder: Path, repository: str) -> str:
    """Upload an exported model to the Hugging Face hub; return its address.

    Args:
        folder: as `export` wrote it.
        repository: OWNER/NAME; it is created if it does not exist.

    Raises:
        InputError: the name is not OWNER/NAME, the hub refuses it, or it cannot be reached.
    """
    check_push(repository)
    hub = HfApi()
    try:
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"`--push {repository}`: the upload failed ({first_line(error)}). The files are in `{folder}`."
        ) from error
    return f"https://huggingface.co/{repository}"


def check_push(repository: str) -> None:
    """Refuse an upload that cannot succeed.

    Raises:
        InputError: the name is not OWNER/NAME, or this machine has no token of the hub.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"`--push {repository}`: give a repository as OWNER/NAME.")
    if get_token() is None:
        raise InputError(
            f"`--push {repository}`: this machine has no token of the Hugging Face hub. Log in with "
            "`hf auth login`, or set $HF_TOKEN."
        )


def _tokenizer_json(run: Run) -> str | None:
    """Return the content of tokenizer.json; None if it would have to be downloaded or learned first."""
    if (corpus := run.model.corpus()) is not None:
        return corpus.tokenizer.to_json()
    path = run.folder / TOKENIZER  # of a converted model
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _config(run: Run, backbone: DiT, tokenizer: bool) -> dict[str, Any]:
    task, schedule = run.model.task, run.model.task.process.schedule
    network = {
        "hidden_size": backbone.vocab_embed.embedding.shape[1],
        "n_blocks": len(backbone.blocks),
        "n_heads": backbone.blocks[0].n_heads,
        "cond_dim": backbone.output_layer.adaLN_modulation.in_features,
        "time_conditioning": backbone.time_conditioning,
    }
    process, given = task.process, run.config["model"]["process"].get("init_args") or {}
    return {
        "format": FORMAT,
        "name": task.backbone_name,
        "vocab_size": process.vocab_size,
        "states": process.num_states,  # ids in noisy text, including the mask token of an absorbing process
        "length": run.model.length,
        "architecture": {"class": DiT.__name__, **network},
        "parameters": task.parameter_count,
        "process": {
            "class": type(process).__name__,
            **{name: value for name, value in given.items() if name != "schedule"},
            "schedule": {"class": type(schedule).__name__, "eps": schedule.eps},
        },
        "prediction": task.parameterization.value,
        "weights": run.weights,
        "step": run.step,
        "tokenizer": TOKENIZER if tokenizer else None,
        "written_by": f"uddm_lightning {__version__}",
    }
