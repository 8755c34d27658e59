"""Load models of `transformers`, and gidd, for measurements as they are stored, without the code of their folder."""

import json
import sys
from collections import Counter
from typing import Any, NamedTuple

import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_text
from uddm_lightning.interop.foreign import hash_files
from uddm_lightning.interop.gidd import is_gidd
from uddm_lightning.interop.hub_folder import TOKENIZER, TOKENIZER_CONFIG, VOCABULARIES, HubFolder
from uddm_lightning.interop.kept_folders import keep_folder
from uddm_lightning.interop.pretrained_backbone import import_transformers, quiet
from uddm_lightning.interop.pretrained_settings import (
    BLOCK_DIFFUSION,
    PretrainedOptions,
    PretrainedSettings,
    Words,
    block_diffusion,
    masked_lm,
)
from uddm_lightning.interop.probe_needs import ProbeNeeds, free_memory, main_device, measured_speed, place, probe_needs
from uddm_lightning.interop.stored_gidd import gidd_settings
from uddm_lightning.runs.load import LoadedModel, from_config

# Keys whose value may name code on the hub that `transformers` would download and run.
IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
PREDICTIONS = 2**31  # bytes of the logits of a batch
LARGEST_BATCH = 64  # rows
LARGEST_STEPS = 1000  # default of the ancestral sampler


class Pretrained(NamedTuple):
    """A model of `transformers`.

    Attributes:
        model: the model.
        notes: sentences about what is assumed.
        batch: rows that are measured together.
    """

    model: LoadedModel
    notes: list[str]
    batch: int


class Plan(NamedTuple):
    """How a model is measured as it is stored; its weights have not been read.

    Attributes:
        settings: of the measurement.
        needs: memory and operations of a probe.
        length: positions of a row.
        steps: evaluations that draw a row.
        stored: most frequent dtype of the weights, as safetensors names it.
    """

    settings: PretrainedSettings
    needs: ProbeNeeds
    length: int
    steps: int
    stored: str


def plan_pretrained(folder: HubFolder, options: PretrainedOptions) -> Plan:
    """Return how a model of `transformers`, or gidd, is measured. The data of its weights are not read.

    Raises:
        InputError: as for `load_pretrained`.
    """
    check_settings(folder)
    is_block, own = folder.config.get("model_type") == BLOCK_DIFFUSION, is_gidd(folder.config)
    words = _read_tokenizer(folder, not own, options.trust_remote_code)
    settings = (gidd_settings if own else block_diffusion if is_block else masked_lm)(folder, words, options)
    if settings.tokenizer is not None:
        write_text(words.file, settings.tokenizer)
    steps = int(settings.config["model"]["sampler"]["init_args"].get("steps", LARGEST_STEPS))
    length = int(settings.config["data"]["packing"]["init_args"]["length"])
    if settings.config["model"]["process"]["class_path"] == "AbsorbingProcess":
        steps = min(steps, length)  # each mask is replaced once
    stored = Counter(entry.dtype for entry in folder.weights.entries.values()).most_common(1)[0][0]
    return Plan(settings, probe_needs(folder, length, steps), length, steps, stored)


def load_pretrained(folder: HubFolder, options: PretrainedOptions) -> Pretrained:
    """Return a model of `transformers`, or gidd, as it is stored.

    Args:
        folder: with `config.json` and safetensors.
        options: choices of the user.

    Raises:
        InputError: `transformers` is missing or too old, the folder is damaged or incomplete, an option does not suit
            this kind of model, or the weights fit nowhere.
    """
    settings, needs, *_, stored = plan_pretrained(folder, options)
    device = place(needs, options.device, free_memory())
    sys.stderr.write(f"{folder.path.name}: {needs.sentence(measured_speed(stored, device))}\n")
    if is_gidd(folder.config) and device == "auto":
        raise InputError(
            f"The model needs about {needs.memory / 1e9:,.1f} GB, more than one device has free; only networks of "
            "`transformers` are distributed over several. `--device` tries one device nevertheless."
        )
    settings.config["model"]["backbone"]["init_args"]["device"] = device
    where = torch.device(main_device(device))
    model = from_config(settings.config, settings.vocab_size, folder.path, hash_files(folder.files), where)
    dtypes = ", ".join(sorted({entry.dtype for entry in folder.weights.entries.values()}))
    code = "THE CODE OF THE FOLDER IS RUN (`--trust-remote-code`)"
    first = f"weights as stored ({dtypes}); {code if options.trust_remote_code else 'no code of the folder is run'}"
    batch = PREDICTIONS // (4 * model.length * settings.vocab_size)
    return Pretrained(model, [first, *settings.notes], max(1, min(LARGEST_BATCH, batch)))


def check_settings(folder: HubFolder) -> None:
    """Refuse settings that make `transformers` download and run code.

    Raises:
        InputError: there is one.
    """
    waiting: list[Any] = [folder.config]
    while waiting:
        one = waiting.pop()
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []
        for key, value in one.items() if isinstance(one, dict) else ():
            if str(key).strip("_").startswith(IMPLEMENTATIONS) and "/" in json.dumps(value):
                raise folder.refusal(f"its `config.json` asks for code from the hub in `{key}`")


def _read_tokenizer(folder: HubFolder, with_transformers: bool, trust_remote_code: bool) -> Words:
    """Return the tokenizer; `transformers` makes it from other files if there is no `tokenizer.json`."""
    about, file = folder.read_json(TOKENIZER_CONFIG), keep_folder() / TOKENIZER
    transformers = import_transformers(f"`{folder.path}` is a model of `transformers`") if with_transformers else None
    text = folder.text(TOKENIZER)
    if text is not None or transformers is None or not any((folder.path / name).exists() for name in VOCABULARIES):
        return Words(text, about, file)
    try:
        with quiet(transformers):
            found = transformers.AutoTokenizer.from_pretrained(
                str(folder.path), local_files_only=True, trust_remote_code=trust_remote_code
            )
        return Words(found.backend_tokenizer.to_str(), {"mask_token": found.mask_token, **about}, file)
    except Exception:  # errors of the library share no base class; a folder need not have a tokenizer
        return Words(None, about, file)
