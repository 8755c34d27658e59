"""gidd-unif and gidd-mask: folders of the hub with a network like Llama, read without the code beside them.

The layout is that of https://github.com/dvruette/gidd-easydel: `config.json` with `model_type` gidd and weights named
`model.layers.*.self_attn.*`. Noise replaces tokens by ids other than the mask token (gidd-unif) or by the mask token
(gidd-mask), with alpha_t = 1 - t limited to the log-SNR of the config. The loss is the NELBO with another weight of
each time, so the network predicts leave-one-out.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones import GiddTransformer
from uddm_lightning.core.errors import first_line, sanitize_message
from uddm_lightning.interop.foreign import ForeignConfig, ForeignModel
from uddm_lightning.interop.hub_config import EMA_DECAY, ONE_SET_OF_WEIGHTS, data_section
from uddm_lightning.interop.hub_folder import TOKENIZER, TOKENIZER_CONFIG, HubFolder, StoredWeights, shown
from uddm_lightning.interop.hub_tokenizer import find_mask, without_token

GIDD = "gidd"  # `model_type` of its `config.json`
USUAL_MASK = 3  # id of the mask token in the code of the model, where no tokenizer names it
LOG_SNR = 9.0  # limit of the log-SNR on both sides, where the config does not state it
NEGLIGIBLE = 1e-6  # largest share of the other kind of noise
OF_IDS = ("embed_tokens.weight", "lm_head.weight")  # a row for each id
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


class GiddWeights(Mapping[str, Tensor]):
    """Weights by the names of `GiddTransformer`; they are read on use.

    The row of the mask token is left out for uniform noise, which never shows it, and is the last one for mask noise.
    """

    def __init__(self, stored: StoredWeights, mask_id: int, keep_mask: bool) -> None:
        self.stored, self.mask_id, self.keep_mask = stored, mask_id, keep_mask
        self.names = {name.removeprefix("model."): name for name in stored}

    @override
    def __getitem__(self, name: str) -> Tensor:
        weight, m = self.stored[self.names[name]], self.mask_id
        if name not in OF_IDS:
            return weight
        return torch.cat([weight[:m], weight[m + 1 :], *([weight[m : m + 1]] if self.keep_mask else [])])

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @override
    def __len__(self) -> int:
        return len(self.names)


class GiddModel(ForeignModel):
    """A folder of gidd-unif or gidd-mask.

    Args:
        path: the folder.

    Attributes:
        architecture: arguments of `GiddTransformer`.
        process: class of the noise process.
        eps: alpha at t = 1; also the smallest time of a measurement.
        t_min: smallest time of the training.
        mask_id: id of the mask token in the folder.

    Raises:
        InputError: a file is missing or damaged, or its noise or its network is another one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = folder = HubFolder(path)
        self.config, self.files = folder.config, folder.files
        self.step, self.ema_decay, self.left_out = None, EMA_DECAY, []
        self.supposed: list[str] = []
        states, self.length = folder.whole("vocab_size", 3), folder.whole("max_position_embeddings")
        self.process = self._process()
        self.layout = f"Hugging Face hub, gidd, {self.process}"
        self.eps = 1.0 / (1.0 + math.exp(-self._number("min_log_snr", -LOG_SNR)))
        self.t_min = 1.0 / (1.0 + math.exp(self._number("max_log_snr", LOG_SNR)))
        self.architecture = self._architecture()
        self._check_shapes(states)
        self.vocab_size = states - 1
        self.tokenizer, self.notes = folder.text(TOKENIZER), [ONE_SET_OF_WEIGHTS]
        self.mask_id = self._find_mask(states, folder.read_json(TOKENIZER_CONFIG))
        self.raw = self.averaged = GiddWeights(folder.weights, self.mask_id, self.process == "AbsorbingProcess")

    @property
    @override
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(parameter.shape) for name, parameter in self.empty_network().named_parameters()}

    def empty_network(self) -> GiddTransformer:
        """Return the network without values."""
        with torch.device("meta"):
            return GiddTransformer(self.vocab_size + (self.process == "AbsorbingProcess"), **self.architecture)

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
        config = {
            "seed_everything": 0,
            "data": data_section(self, given, tokenizer),
            "model": {**section, "ema_decay": EMA_DECAY, "backbone_name": GIDD},
            "nelbo": {"t_min": self.t_min},
            "trainer": {"devices": 1, "max_steps": -1, "val_check_interval": 1, "enable_model_summary": False},
        }
        return ForeignConfig(config, self.supposed)

    def _process(self) -> str:
        """Return the class of the noise process: `noise_type` + log-SNR is the log-odds of uniform noise."""
        low, high = self._number("min_log_snr", -LOG_SNR), self._number("max_log_snr", LOG_SNR)
        if not low < high:
            raise self.refusal(f"its `config.json` says `min_log_snr` = {low:g} and `max_log_snr` = {high:g}")
        kind, limit = self._number("noise_type", 0.0), -math.log(NEGLIGIBLE)
        if kind + low > limit:
            return "UniformProcess"
        if kind + high < -limit:
            return "AbsorbingProcess"
        raise self.refusal(
            f"its `config.json` says `noise_type` = {kind:g}, a mixture of mask and uniform noise that changes with "
            "the log-SNR; of this layout only uniform noise (about 1000) and mask noise (about -1000) are known"
        )

    def _architecture(self) -> dict[str, Any]:
        sizes = {name: self.folder.whole(key) for name, key in SIZES.items()}
        for key, usual in (("is_causal", False), ("rope_scaling", None)):
            if self.config.get(key, usual) not in (usual, None):
                raise self.refusal(f"its `config.json` says `{key}` = {shown(self.config[key])}, which is not known")
        size = sizes["hidden_size"] // sizes["n_heads"]
        if self.config.get("head_dim") not in (None, size):
            raise self.refusal(f"its `config.json` says `head_dim` = {shown(self.config['head_dim'])}, not {size}")
        numbers = {name: self._number(key, usual) for name, (key, usual) in NUMBERS.items()}
        switches = {name: self.config.get(key, usual) for name, (key, usual) in SWITCHES.items()}
        for name, value in switches.items():
            if not isinstance(value, bool):
                raise self.refusal(
                    f"its `config.json` says `{SWITCHES[name][0]}` = {shown(value)}, and not true or false"
                )
        scales = {
            "weight_scale": self._scale("weight_scaling", "fan_in"),
            "head_scale": self._scale("head_scaling", 1.0),
        }
        return {**sizes, **numbers, **switches, **scales}

    def _scale(self, key: str, usual: Any) -> float | None:
        return None if self.config.get(key, usual) == "fan_in" else self._number(key, usual)

    def _number(self, key: str, usual: float) -> float:
        value = self.config.get(key)
        if value is None:
            self.supposed = sorted({*self.supposed, key})
            return usual
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or abs(value) > 1e9:
            raise self.refusal(f"its `config.json` says `{key}` = {shown(value)}, and a number is needed")
        return float(value)

    def _check_shapes(self, states: int) -> None:
        """Compare names and shapes of the weights with those of our network."""
        weights = self.folder.weights
        if self.architecture["n_blocks"] > len(weights):  # before a network of that many layers is made
            raise self.refusal(
                f"its `config.json` says {self.architecture['n_blocks']} layers for {len(weights)} tensors"
            )
        try:
            with torch.device("meta"):
                ours = GiddTransformer(states, **self.architecture)
        except (ValueError, RuntimeError) as error:  # the latter where a number is absurdly large
            raise self.refusal(f"its `config.json` describes no network: {first_line(error)}") from error
        shapes = {
            name if name.startswith("lm_head") else f"model.{name}": tuple(parameter.shape)
            for name, parameter in ours.named_parameters()
        }
        stored = {name: entry.shape for name, entry in weights.entries.items()}
        for name in [*shapes, *sorted(stored.keys() - shapes.keys())]:
            here, there = shapes.get(name), stored.get(name)
            if here != there:
                stated, needed = ("missing" if one is None else f"of shape {one}" for one in (there, here))
                raise self.refusal(f"`{sanitize_message(name)[:120]}` is {stated} in it and {needed} in our network")

    def _find_mask(self, states: int, about: dict[str, Any]) -> int:
        """Return the id of the mask token, and take it out of the tokenizer."""
        try:
            found = None if self.tokenizer is None else find_mask(self.tokenizer, about)
            mask_id = USUAL_MASK if found is None else found
            self.tokenizer = None if self.tokenizer is None else without_token(self.tokenizer, mask_id)
        except (ValueError, RecursionError) as error:
            raise self.refusal(f"its `{TOKENIZER}` is damaged ({first_line(error)})") from error
        if not 0 <= mask_id < states:
            raise self.refusal(f"the mask token is id {mask_id}, and its network has {states} ids")
        why = "as in the code of the model, because no tokenizer names it" if found is None else "as its tokenizer says"
        use = "it is left out, because uniform noise never draws it"
        if self.process == "AbsorbingProcess":
            use = f"it becomes the last one, {states - 1}, and its logit is left out"
        self.notes = [*self.notes, f"the mask token is id {mask_id}, {why}; {use}; larger ids become smaller by one"]
        return mask_id


def is_gidd(config: dict[str, Any]) -> bool:
    """Return whether a `config.json` is one of gidd-unif or gidd-mask."""
    return config.get("model_type") == GIDD
