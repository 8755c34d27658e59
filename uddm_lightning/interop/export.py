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
from uddm_lightning.interop.exported_model import ROLES
from uddm_lightning.interop.model_card import card
from uddm_lightning.runs.run import Run


def export(run: Run, folder: Path, samples: int = 0) -> list[str]:
    """Write the weights of a run as safetensors, with config.json, tokenizer.json and a model card.

    The tokenizer is left out if it is neither in the cache nor on the hub.

    Args:
        run: weights and settings; its `weights` are exported.
        folder: to write to; it must be empty or missing.
        samples: number of texts in the card that the model draws; none without a tokenizer.

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
    words = run.model.tokenizer(fetch=True)
    config = _config(run, backbone, words)
    drawn = [text for text in run.sample(samples) if isinstance(text, str)] if words and samples else []
    weights, about = backbone.state_dict(), {"format": "pt"}  # readers of safetensors expect this entry
    write_atomically(folder / WEIGHTS, lambda temporary: save_file(weights, str(temporary), metadata=about))
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    if words is not None:
        write_text(folder / TOKENIZER, words.to_json())
    write_text(folder / CARD, card(config, run.folder, drawn))
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


def _config(run: Run, backbone: DiT, words: Any) -> dict[str, Any]:
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
        "t_min": task.objective.t_min,
        "packing": type(run.model.packing).__name__,
        "weights": run.weights,
        "step": run.step,
        "tokenizer": TOKENIZER if words else None,
        "special_tokens": {role: _token(words, role) for role in ROLES} if words else {},
        "written_by": f"uddm_lightning {__version__}",
    }


def _token(words: Any, role: str) -> str:
    """Return the name of a special token; "" if there is none."""
    token = getattr(words, f"{role}_id")
    return "" if token is None else str(words.backend.id_to_token(token))
