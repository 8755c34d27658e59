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
    settings, kind = model.settings, model.kind
    eps, unstated, arguments = EPS, ["noise.eps", "training.sampling_eps"], {}
    if kind.process == "HybridProcess":
        eps, unstated = settings.number("t_eps", T_EPS), ["loss.loss_weighting"]
        arguments = {"p_uniform": settings.number("p_uniform")}
    schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": eps}}
    objective = "ReweightedNELBO" if arguments else "NELBO"
    section = {
        "process": {"class_path": kind.process, "init_args": {"schedule": schedule, **arguments}},
        "backbone": {"class_path": "DiT", "init_args": model.architecture},
        "objective": {"class_path": objective, "init_args": {"t_min": eps}},
        "sampler": {"class_path": "AncestralSampler"},
        "backbone_name": kind.name.lower(),
    }
    data = data_section(model, given, tokenizer)
    return ForeignConfig(measured_config(data, section, eps), [*settings.assumed, *unstated])


def measured_config(data: dict[str, Any], model: dict[str, Any], t_min: float) -> dict[str, Any]:
    """Return the config of a run that is measured and not trained.

    Args:
        data: section `data`.
        model: section `model`.
        t_min: smallest time of the NELBO.
    """
    return {
        "seed_everything": 0,
        "data": data,
        "model": {**model, "ema_decay": EMA_DECAY},
        "nelbo": {"t_min": t_min},
        "trainer": {"devices": 1, "max_steps": -1, "val_check_interval": 1, "enable_model_summary": False},
    }


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
