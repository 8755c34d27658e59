"""Convert the settings of a model in Duo's layout to a config of this package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.foreign import ForeignConfig
from uddm_lightning.interop.known_texts import TEXTS, known_text, pretrained_tokenizer

if TYPE_CHECKING:
    from uddm_lightning.interop.duo import DuoCheckpoint

# Defaults of Duo's config, for settings that the file leaves out.
USUAL = {
    "loader.global_batch_size": 512,
    "lr_scheduler.num_warmup_steps": 2500,
    "optim.lr": 3e-4,
    "optim.beta1": 0.9,
    "optim.beta2": 0.999,
    "optim.eps": 1e-8,
    "optim.weight_decay": 0.0,
    "noise.eps": 1e-3,
    "training.sampling_eps": 1e-3,
    "trainer.gradient_clip_val": 1.0,
}


def recipe(foreign: "DuoCheckpoint", given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
    """Return the config of a foreign model.

    Args:
        foreign: the checkpoint.
        given: parts of the `data` section that the user gives; they stand in for those of the file.
        tokenizer: the file of its tokenizer, where that came along.

    Raises:
        InputError: the file lacks a setting that has no default and that `given` does not contain.
    """
    settings, assumed = foreign.settings, []

    def number(key: str) -> float:
        value = settings.number(key)
        if value is None:
            assumed.append(key)
            return USUAL[key]
        return value

    data: dict[str, Any] = {"batch_size": int(number("loader.global_batch_size"))}
    text = settings.text("data.train") or "nothing"
    if "source" not in given:
        if text not in TEXTS:
            raise InputError(
                f"`{foreign.path}` was trained on {text[:80]!r}, and no source of that text is known. Give "
                "the text to measure it on in a section `data`, with `--config FILE`."
            )
        data["source"] = known_text(text)["source"]
    if "tokenizer" not in given:
        name = str(tokenizer) if tokenizer else settings.text("data.tokenizer_name_or_path")
        if name is None:
            raise _silent(foreign, "data.tokenizer_name_or_path", "tokenizer")
        data["tokenizer"] = pretrained_tokenizer(name, foreign.vocab_size)
    if "packing" not in given:
        length = settings.whole("model.length")
        if length is None:
            raise _silent(foreign, "model.length", "packing")
        wrapped = settings["data.wrap"]
        if wrapped is None:
            assumed.append("data.wrap")
        packing = "DocumentPacking" if wrapped is False else "WrappedPacking"
        usual = known_text(text)["packing"] if text in TEXTS else {}
        arguments = usual.get("init_args", {}) if usual.get("class_path") == packing else {}
        data["packing"] = {"class_path": packing, "init_args": {**arguments, "length": length}}
    share = settings.number("data.subset")
    if share is not None and 0.0 < share <= 1.0 and "train_size" not in given:
        data["train_size"] = float(share)

    optimizer = {
        "lr": number("optim.lr"),
        "betas": [number("optim.beta1"), number("optim.beta2")],
        "eps": number("optim.eps"),
        "weight_decay": number("optim.weight_decay"),
    }
    schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": number("noise.eps")}}
    t_min = number("training.sampling_eps")
    warmup = int(number("lr_scheduler.num_warmup_steps"))
    model = {
        "process": {"class_path": "UniformProcess", "init_args": {"schedule": schedule}},
        "backbone": {"class_path": "DiT", "init_args": foreign.architecture},
        "objective": {"class_path": "NELBO", "init_args": {"t_min": t_min}},
        "sampler": {"class_path": "AncestralSampler"},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": optimizer},
        "lr_schedule": {"class_path": "WarmupConstant", "init_args": {"warmup_steps": warmup}},
        "ema_decay": foreign.ema_decay,
        "backbone_name": settings.text("model.name"),
    }
    trainer = {
        "devices": 1,
        "max_steps": foreign.step or -1,  # the model is trained; the run is only measured
        "val_check_interval": foreign.step or 1,
        "gradient_clip_val": number("trainer.gradient_clip_val"),
        "enable_model_summary": False,
    }
    seed = settings.whole("seed")
    config = {
        "seed_everything": seed if seed is not None and 0 <= seed < 2**32 else 0,
        "data": data,
        "model": model,
        "nelbo": {"t_min": t_min},
        "trainer": trainer,
    }
    return ForeignConfig(config, assumed)


def _silent(foreign: "DuoCheckpoint", key: str, ours: str) -> InputError:
    return InputError(f"`{foreign.path}` does not say `{key}`: give `data.{ours}` with `--config FILE`.")
