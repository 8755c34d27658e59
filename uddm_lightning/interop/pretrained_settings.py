"""Settings of a measurement of a model of `transformers`: process, rows and sampler of each kind."""

from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch

from uddm_lightning.core.errors import InputError, check_at_least
from uddm_lightning.interop.hub_folder import TOKENIZER, HubFolder
from uddm_lightning.interop.hub_tokenizer import take_out_mask

BLOCK_DIFFUSION = "diffusion_gemma"  # `model_type` of its `config.json`
# Names of networks that `AutoModelForMaskedLM` reads, by the end of the names in `architectures`.
MASKED = ("ForMaskedLM", "ForPreTraining", "XLMWithLMHeadModel", "FlaubertWithLMHeadModel")
GENERATION_CONFIG = "generation_config.json"
EPS = 1e-3  # of the noise schedule, and the smallest time of a measurement
ROW_LENGTH = 128  # of a masked model, which does not state the length of its rows
STEPS = 48  # default of `generate` of DiffusionGemma
PACKAGE = "uddm_lightning.interop"
BEHIND_PADDING = ("roberta", "xlm-roberta", "camembert", "esm")  # two of their positions are never used


class PretrainedOptions(NamedTuple):
    """Choices of the user.

    Attributes:
        device: of the weights; "auto" distributes them over several devices; None takes a GPU where they fit.
        steps: of the chain; None takes that of the model.
        trust_remote_code: run the code of the folder that `auto_map` names.
        prompt: text before the canvas of DiffusionGemma; None is its begin token.
        length: positions of a row of a masked model; None is 128, or fewer where the model has fewer.
    """

    device: str | None = None
    steps: int | None = None
    trust_remote_code: bool = False
    prompt: str | None = None
    length: int | None = None


class Words(NamedTuple):
    """Tokenizer of a folder.

    Attributes:
        content: of `tokenizer.json`; None if the folder has no tokenizer.
        about: content of `tokenizer_config.json`; may be empty.
        file: to which the tokenizer of the rows is written.
    """

    content: str | None
    about: dict[str, Any]
    file: Path


class PretrainedSettings(NamedTuple):
    """Settings of a measurement.

    Attributes:
        config: nested config of a run, without a source of text.
        vocab_size: V, without the mask token.
        tokenizer: content of the `tokenizer.json` of the rows; None without a tokenizer.
        notes: sentences about what is assumed.
    """

    config: dict[str, Any]
    vocab_size: int
    tokenizer: str | None
    notes: list[str]


def is_pretrained(config: dict[str, Any], trust_remote_code: bool = False) -> bool:
    """Return whether `transformers` has the network of a `config.json`, or the code of its folder may be run."""
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    remote = config.get("auto_map")
    if trust_remote_code and isinstance(remote, dict) and "AutoModelForMaskedLM" in remote:
        return True
    return config.get("model_type") == BLOCK_DIFFUSION or any(name.endswith(MASKED) for name in names)


def masked_lm(folder: HubFolder, words: Words, options: PretrainedOptions) -> PretrainedSettings:
    """Return the settings of a masked language model: a denoiser of absorbing noise without a noise level.

    Raises:
        InputError: the mask token is not known, or an option does not suit the model.
    """
    refuse_prompt(folder, options)
    if folder.config.get("is_encoder_decoder"):
        raise folder.refusal("it encodes and decodes in two networks, and a masked model is one")
    states = folder.whole("vocab_size", 3)
    mask_id, _, content = take_out_mask(folder, words.content, words.about)
    if mask_id is None or mask_id >= states:
        raise folder.refusal(f"no tokenizer in it names the mask token, one of its {states:,} ids")
    schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": EPS}}
    steps = {} if options.steps is None else {"steps": options.steps}
    length = row_length(folder, options)
    model = {
        "process": {"class_path": "AbsorbingProcess", "init_args": {"schedule": schedule}},
        "backbone": _backbone("masked_lm.MaskedLM", folder, options, mask_id=mask_id),
        "objective": {"class_path": "NELBO", "init_args": {"t_min": EPS}},
        "sampler": {"class_path": "AncestralSampler", "init_args": steps},
    }
    notes = [
        f"a masked language model without a noise level, as a denoiser of absorbing noise, log-linear with eps = "
        f"{EPS:g}; such models are trained at about 15 % masked tokens, and t near 1 is far from that",
        f"the mask token is id {mask_id}; here it is the last one, {states - 1}, and its logit is left out",
        f"rows of {length} tokens",
    ]
    # the network may have more ids than the tokenizer
    tokenizer = {"path": str(words.file), "vocab_size": states - 1}
    return PretrainedSettings(settings_config(model, tokenizer, length), states - 1, content, notes)


def block_diffusion(folder: HubFolder, words: Words, options: PretrainedOptions) -> PretrainedSettings:
    """Return the settings of DiffusionGemma: a denoiser of uniform noise on a canvas behind a prompt.

    Raises:
        InputError: the folder lacks a setting, or an option does not suit the model.
    """
    text = folder.config.get("text_config")
    text = text if isinstance(text, dict) else {}
    states, length = text.get("vocab_size"), folder.whole("canvas_length", 2)
    if type(states) is not int or not 2 <= states < 2**31:
        raise folder.refusal("its `config.json` says no `text_config.vocab_size`")
    if options.length not in (None, length):
        raise InputError(f"`--length {options.length}`: the canvas of `{folder.path}` has {length} positions.")
    generation = folder.read_json(GENERATION_CONFIG)
    own = generation.get("sampler_config") or {}  # a class of this name would be called
    if not isinstance(own, dict) or own.get("_cls_name") not in (None, "EntropyBoundSamplerConfig"):
        raise folder.refusal(f"its `{GENERATION_CONFIG}` names an unknown sampler")
    stated = generation.get("max_denoising_steps")
    steps = options.steps or (stated if type(stated) is int and stated > 0 else STEPS)
    prompt = _encode_prompt(folder, words.content, options.prompt, text.get("bos_token_id"))
    schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": EPS}}
    chain = {"class_path": f"{PACKAGE}.block_diffusion.GenerateSampler", "init_args": {"steps": steps}}
    model = {
        "process": {"class_path": "UniformProcess", "init_args": {"schedule": schedule}},
        "backbone": _backbone("block_diffusion.BlockDiffusion", folder, options, prompt=prompt),
        "objective": {"class_path": "DenoisingCrossEntropy", "init_args": {"t_min": EPS}},
        "sampler": chain,
    }
    before = "its begin token" if options.prompt is None else f"{len(prompt)} ids"
    notes = [
        f"a canvas of {length} ids behind a prompt ({before}), with uniform noise from all {states:,} ids, log-linear "
        f"with eps = {EPS:g}",
        "the network reads no time: alpha_t is that of the noise that is applied here. Its logits are taken as the "
        "posterior p(x0 | xt) and are converted to leave-one-out predictions with this alpha_t",
        "self-conditioning is off in predictions; own samples come from its `generate`, with its temperature, its "
        f"self-conditioning and at most {steps} steps, so their entropy is lower than that of exact samples",
    ]
    none = dict.fromkeys(("bos", "eos", "separator"), "")  # the prompt has the begin token, a canvas has none
    tokenizer = None if words.content is None else {"path": str(words.file), **none, "vocab_size": states}
    return PretrainedSettings(settings_config(model, tokenizer, length), states, words.content, notes)


def _backbone(name: str, folder: HubFolder, options: PretrainedOptions, **more: Any) -> dict[str, Any]:
    own = {"trust_remote_code": options.trust_remote_code}
    return {"class_path": f"{PACKAGE}.{name}", "init_args": {"path": str(folder.path.absolute()), **more, **own}}


def refuse_prompt(folder: HubFolder, options: PretrainedOptions) -> None:
    """Refuse `--prompt` for a model that reads none."""
    if options.prompt is not None:
        raise InputError(f"`--prompt` is for models that read a prompt (DiffusionGemma), and `{folder.path}` does not.")


def settings_config(model: dict[str, Any], tokenizer: dict[str, Any] | None, length: int) -> dict[str, Any]:
    """Return the config of a measurement: the model, its tokenizer, and rows of a length."""
    words = (
        {}
        if tokenizer is None
        else {"tokenizer": {"class_path": "uddm_lightning.data.PretrainedTokenizer", "init_args": tokenizer}}
    )
    return {
        "seed_everything": 0,
        "threads": torch.get_num_threads(),
        "data": {**words, "packing": {"class_path": "WrappedPacking", "init_args": {"length": length}}},
        "model": model,
    }


def row_length(folder: HubFolder, options: PretrainedOptions) -> int:
    """Return the positions of a row: the given number, else 128, or fewer where the network has fewer.

    Raises:
        InputError: the network has fewer positions than were asked for.
    """
    longest = folder.config.get("max_position_embeddings")
    longest = longest if type(longest) is int and longest > 0 else ROW_LENGTH
    longest -= 2 * (str(folder.config.get("model_type")) in BEHIND_PADDING)
    check_at_least(2, "--", length=options.length)
    length = options.length or min(ROW_LENGTH, longest)
    if length > longest:
        raise InputError(f"`--length {length}`: `{folder.path}` has {longest} positions; give at most that.")
    return length


def _encode_prompt(folder: HubFolder, tokenizer: str | None, prompt: str | None, bos: Any) -> list[int]:
    begin = [bos] if type(bos) is int else []
    ids: list[int] = []
    if prompt is not None:
        if tokenizer is None:
            raise folder.refusal(f"it has no `{TOKENIZER}`, so that `--prompt` cannot be converted to ids")
        ids = tokenizers.Tokenizer.from_str(tokenizer).encode(prompt, add_special_tokens=False).ids
    if not begin and not ids:
        raise folder.refusal("its `config.json` says no `text_config.bos_token_id`; give a `--prompt`")
    return [*begin, *ids]
