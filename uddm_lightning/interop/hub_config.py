"""Convert the settings of a model in the hub's layout to a config of this package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from uddm_lightning.interop.foreign import ForeignConfig, ForeignModel
from uddm_lightning.interop.known_texts import known_text, pretrained_tokenizer

if TYPE_CHECKING:
    from uddm_lightning.interop.hub_model import HubModel

EMA_DECAY = 0.9999  # of the recipes of UDLM, MDLM and Duo; it does not affect a measurement
EPS = 1e-3  # `noise.eps` and `training.sampling_eps` of UDLM, MDLM and Duo
T_EPS = 1e-4  # `t_eps` of GIDD
ONE_SET_OF_WEIGHTS = "one set of weights, as published; it stands for the averaged and for the raw ones"
ASSUMED_TEXT = "the folder names no text; {} is assumed from the number of ids"
NO_TEXT = (
    "the folder names no text, and none is known with this number of ids: `uddm probe` and `uddm sample` need none; "
    "for `uddm validate` give `--data.source` and `--data.tokenizer`"
)
TEXTS = {30_522: "lm1b", 50_257: "openwebtext", 50_258: "openwebtext"}  # by number of ids without a mask


def recipe(model: "HubModel", given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
    """Return the config of a model in the hub's layout.

    The folder does not name the text. A text is assumed for the vocabularies of BERT (LM1B) and GPT-2 (OpenWebText),
    unless the user gives one. For other vocabularies the config names files beside it that do not exist yet.

    Args:
        model: the model.
        given: parts of the `data` section that the user gives.
        tokenizer: file of its tokenizer, if it has one.
    """
    supposed = list(model.supposed)
    hybrid = model.kind.process == "HybridProcess"
    if hybrid:
        eps = t_min = model.number("t_eps", T_EPS)
        supposed = [*model.supposed, "loss.loss_weighting"]
    else:
        eps = t_min = EPS
        supposed += ["noise.eps", "training.sampling_eps"]
    schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": eps}}
    process: dict[str, Any] = {"class_path": model.kind.process, "init_args": {"schedule": schedule}}
    if hybrid:
        process["init_args"]["p_uniform"] = model.number("p_uniform")

    data = data_section(model, given, tokenizer)
    weighted = {"class_path": "ReweightedNELBO" if hybrid else "NELBO", "init_args": {"t_min": t_min}}
    config = {
        "seed_everything": 0,
        "data": data,
        "model": {
            "process": process,
            "backbone": {"class_path": "DiT", "init_args": model.architecture},
            "objective": weighted,
            "sampler": {"class_path": "AncestralSampler"},
            "ema_decay": EMA_DECAY,
            "backbone_name": model.kind.name.lower(),
        },
        "nelbo": {"t_min": t_min},
        "trainer": {"devices": 1, "max_steps": -1, "val_check_interval": 1, "enable_model_summary": False},
    }
    return ForeignConfig(config, supposed)


def data_section(model: ForeignModel, given: dict[str, Any], tokenizer: Path | None) -> dict[str, Any]:
    """Return the section `data` of a folder that names no text, without the parts that the user gives.

    Args:
        model: the model; a note about the text is added to it.
        given: parts of the section that the user gives.
        tokenizer: file of its tokenizer, if it has one.
    """
    text = TEXTS.get(model.vocab_size)
    data: dict[str, Any] = {}
    if "source" not in given:
        model.notes = [*model.notes, ASSUMED_TEXT.format(text) if text else NO_TEXT]
        nothing = {"class_path": "TextFiles", "init_args": {"paths": "text.txt"}}
        data["source"] = known_text(text)["source"] if text else nothing
    if "tokenizer" not in given:
        name = str(tokenizer) if tokenizer else known_text(text)["tokenizer"]["init_args"]["path"] if text else None
        data["tokenizer"] = pretrained_tokenizer(name or "tokenizer.json", model.vocab_size)
    if "packing" not in given:
        packing: dict[str, Any] = known_text(text)["packing"] if text else {"class_path": "WrappedPacking"}
        data["packing"] = {**packing, "init_args": {**packing.get("init_args", {}), "length": model.length}}
    return data
