"""gidd-unif and gidd-mask: folders of the hub with a network like Llama, read without the code beside them.

The layout is that of https://github.com/dvruette/gidd-easydel: `config.json` with `model_type` gidd and weights named
`model.layers.*.self_attn.*`. Noise replaces tokens by ids other than the mask token (gidd-unif) or by the mask token
(gidd-mask), with alpha_t = 1 - t limited to the log-SNR of the config. The loss is the NELBO with another weight of
each time, so the network predicts leave-one-out.
"""

import math
from pathlib import Path
from typing import Any

from typing_extensions import override

from uddm_lightning.backbones import GiddTransformer
from uddm_lightning.interop.folder_model import FolderModel
from uddm_lightning.interop.foreign import ForeignConfig
from uddm_lightning.interop.hub_config import data_section, measured_config
from uddm_lightning.interop.hub_folder import shown

GIDD = "gidd"  # `model_type` of its `config.json`
USUAL_MASK = 3  # id of the mask token in the code of the model, where no tokenizer names it
LOG_SNR = 9.0  # limit of the log-SNR on both sides, where the config does not state it
LARGEST_LOG_SNR = 100.0
FAN_IN, HEAD_SCALE = "fan_in", 1.0  # scale of the weights by the number of inputs; usual scale of the logits
NEGLIGIBLE = 1e-6  # largest share of the other kind of noise
SIZES = {
    "hidden_size": "hidden_size",
    "n_blocks": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "mlp_size": "intermediate_size",
}
NUMBERS = {
    "soft_cap": ("attn_soft_cap", 30.0),
    "residual_scale": ("resid_scale", 4.0),
    "rope_base": ("rope_theta", 1e4),
    "norm_eps": ("rms_norm_eps", 1e-6),
}
SWITCHES = {
    "qk_norm": ("use_qk_norm", True),
    "attention_bias": ("attention_bias", False),
    "mlp_bias": ("mlp_bias", False),
    "tied": ("tie_word_embeddings", False),
}


class GiddModel(FolderModel):
    """A folder of gidd-unif or gidd-mask.

    The row of the mask token is left out for uniform noise, which never shows it, and is the last one for mask noise.

    Args:
        path: the folder.

    Attributes:
        process: class of the noise process.
        eps: alpha at t = 1; also the smallest time of a measurement.
        t_min: smallest time of the training.

    Raises:
        InputError: a file is missing or damaged, or its noise or its network is another one.
    """

    tables = ("embed_tokens.weight", "lm_head.weight")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        ids, self.length = self.folder.whole("vocab_size", 3), self.folder.whole("max_position_embeddings")
        low, high = self.settings.number("min_log_snr", -LOG_SNR), self.settings.number("max_log_snr", LOG_SNR)
        self.has_mask = self._has_mask(low, high)
        self.process = "AbsorbingProcess" if self.has_mask else "UniformProcess"
        self.layout = f"Hugging Face hub, gidd, {self.process}"
        self.eps, self.t_min = 1.0 / (1.0 + math.exp(-low)), 1.0 / (1.0 + math.exp(high))
        self.architecture = self._architecture()
        names = self.check_shapes(ids)
        self.vocab_size = ids - 1
        self._find_mask(ids)
        self.raw = self.averaged = self.network_weights(names, ids)

    @override
    def network(self, ids: int) -> GiddTransformer:
        return GiddTransformer(ids, **self.architecture)

    @override
    def stored_name(self, name: str) -> str:
        return name if name.startswith("lm_head") else f"model.{name}"

    def model_section(self, backbone: dict[str, Any], steps: int | None = None) -> dict[str, Any]:
        """Return the section `model` of a config.

        Args:
            backbone: its backbone.
            steps: of the chain; None takes the default.
        """
        schedule = {"class_path": "LogLinearSchedule", "init_args": {"eps": self.eps}}
        chain = {} if steps is None else {"steps": steps}
        return {
            "process": {"class_path": self.process, "init_args": {"schedule": schedule}},
            "backbone": backbone,
            "objective": {"class_path": "NELBO", "init_args": {"t_min": self.t_min}},
            "sampler": {"class_path": "AncestralSampler", "init_args": chain},
        }

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        section = self.model_section({"class_path": "GiddTransformer", "init_args": self.architecture})
        data = data_section(self, given, tokenizer)
        config = measured_config(data, {**section, "backbone_name": GIDD}, self.t_min)
        return ForeignConfig(config, self.settings.assumed)

    def _has_mask(self, low: float, high: float) -> bool:
        """Return whether the noise is the mask token. `noise_type` + log-SNR is the log-odds of uniform noise.

        Args:
            low: smallest log-SNR.
            high: largest log-SNR.
        """
        if not -LARGEST_LOG_SNR < low < high < LARGEST_LOG_SNR:
            raise self.refusal(f"its `config.json` says `min_log_snr` = {low:g} and `max_log_snr` = {high:g}")
        kind, limit = self.settings.number("noise_type", 0.0), -math.log(NEGLIGIBLE)
        if kind + low > limit:
            return False
        if kind + high < -limit:
            return True
        raise self.refusal(
            f"its `config.json` says `noise_type` = {kind:g}, a mixture of mask and uniform noise that changes with "
            "the log-SNR; of this layout only uniform noise (about 1000) and mask noise (about -1000) are known"
        )

    def _architecture(self) -> dict[str, Any]:
        config, settings = self.folder.config, self.settings
        sizes = {name: self.folder.whole(key) for name, key in SIZES.items()}
        for key, usual in (("is_causal", False), ("rope_scaling", None)):
            if config.get(key, usual) not in (usual, None):
                raise self.refusal(f"its `config.json` says `{key}` = {shown(config[key])}, which is not known")
        size = sizes["hidden_size"] // sizes["n_heads"]
        if config.get("head_dim") not in (None, size):
            raise self.refusal(f"its `config.json` says `head_dim` = {shown(config['head_dim'])}, not {size}")
        numbers = {name: settings.number(key, usual) for name, (key, usual) in NUMBERS.items()}
        switches = {name: settings.switch(key, usual) for name, (key, usual) in SWITCHES.items()}
        weight_scale = settings.value("weight_scaling", FAN_IN)
        head_scale = settings.value("head_scaling", HEAD_SCALE)
        scales = {
            "weight_scale": None if weight_scale == FAN_IN else settings.number("weight_scaling"),
            "head_scale": None if head_scale == FAN_IN else settings.number("head_scaling", HEAD_SCALE),
        }
        return {**sizes, **numbers, **switches, **scales}

    def _find_mask(self, ids: int) -> None:
        is_named = self.take_out_mask(ids, USUAL_MASK)
        why = "as its tokenizer says" if is_named else "as in the code of the model, because no tokenizer names it"
        use = "it is left out, because uniform noise never draws it"
        if self.has_mask:
            use = f"it becomes the last one, {ids - 1}, and its logit is left out"
        note = f"the mask token is id {self.mask_id}, {why}; {use}; larger ids become smaller by one"
        self.notes = [*self.notes, note]


def is_gidd(config: dict[str, Any]) -> bool:
    """Return whether a `config.json` is one of gidd-unif or gidd-mask."""
    return config.get("model_type") == GIDD
