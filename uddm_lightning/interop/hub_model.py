"""Models in the hub's layout whose network is our DiT: UDLM, MDLM, Duo and GIDD."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones import DiT
from uddm_lightning.backbones.dit import RotaryEmbedding
from uddm_lightning.core.errors import first_line, sanitize_message
from uddm_lightning.interop import hub_config
from uddm_lightning.interop.foreign import ForeignConfig, ForeignModel
from uddm_lightning.interop.hub_folder import TOKENIZER, TOKENIZER_CONFIG, HubFolder, StoredWeights, shown
from uddm_lightning.interop.hub_tokenizer import find_mask, without_token
from uddm_lightning.interop.pretrained_settings import is_pretrained

OF_IDS = ("vocab_embed.embedding", "output_layer.linear.weight", "output_layer.linear.bias")  # a row for each id
FREQUENCIES, COSINES, SINES = "rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached"
SHARED = {
    "hidden_size": "hidden_dim",
    "n_blocks": "n_blocks",
    "n_heads": "n_heads",
    "cond_dim": "cond_dim",
    "dropout": "dropout",
    "length": "model_length",
}
OF_GIDD = {
    "hidden_size": "hidden_size",
    "n_blocks": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "cond_dim": "timestep_cond_dim",
    "dropout": "attention_dropout",
    "length": "max_seq_len",
}


class Kind(NamedTuple):
    """A kind of model.

    Attributes:
        name: of the kind.
        prefix: of its parameter names.
        keys: keys of its `config.json`, by our names.
        process: class of its noise process.
        time_conditioning: value of the key, if its config does not say.
    """

    name: str
    prefix: str
    keys: dict[str, str]
    process: str
    time_conditioning: bool = True

    @property
    def has_mask(self) -> bool:
        """Whether one id of the network is a mask token."""
        return self.process != "UniformProcess"


KINDS = {
    "udlm": Kind("UDLM", "backbone.", SHARED, "UniformProcess"),
    "mdlm": Kind("MDLM", "backbone.", SHARED, "AbsorbingProcess", time_conditioning=False),
    "duo": Kind("Duo", "backbone.", SHARED, "UniformProcess"),
    "dit": Kind("GIDD", "", OF_GIDD, "HybridProcess"),
}


class NetworkWeights(Mapping[str, Tensor]):
    """Weights by the parameter names of `DiT`, with the row of the mask last; they are read on use."""

    def __init__(self, stored: StoredWeights, prefix: str, names: list[str], mask_id: int | None) -> None:
        self.stored, self.prefix, self.names, self.mask_id = stored, prefix, names, mask_id

    @override
    def __getitem__(self, name: str) -> Tensor:
        weight = self.stored[self.prefix + name]
        m = self.mask_id
        return (
            weight if m is None or name not in OF_IDS else torch.cat([weight[:m], weight[m + 1 :], weight[m : m + 1]])
        )

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @override
    def __len__(self) -> int:
        return len(self.names)


class HubModel(ForeignModel):
    """A model in the hub's layout.

    Args:
        path: the folder.

    Attributes:
        kind: kind of the model.
        architecture: arguments of `DiT`.
        config: content of its `config.json`; `auto_map` and the code that it names are not used.
        mask_id: id of the mask token in the folder; None without one. Here it is the last id.

    Raises:
        InputError: a file is missing or damaged, or this package does not have the network.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = folder = HubFolder(path)
        self.config, self.files = folder.config, folder.files
        self.kind = self._kind(folder.weights)
        self.layout = f"Hugging Face hub, {self.kind.name}"
        self.step, self.ema_decay = None, hub_config.EMA_DECAY
        self.supposed: list[str] = []
        states = self.folder.whole("vocab_size", 2)
        self.length = self.folder.whole(self.kind.keys["length"])
        self.architecture = self._architecture()
        self._shapes = self._checked_shapes(folder.weights, states)
        self.left_out = sorted(folder.weights.keys() - {self.kind.prefix + name for name in self._shapes})
        self.tokenizer, self.notes = folder.text(TOKENIZER), [hub_config.ONE_SET_OF_WEIGHTS]
        self.mask_id: int | None = None
        if self.kind.has_mask:
            self._find_mask(states, folder.read_json(TOKENIZER_CONFIG))
        self.vocab_size = states - self.kind.has_mask
        self.raw = NetworkWeights(folder.weights, self.kind.prefix, list(self._shapes), self.mask_id)
        self.averaged = self.raw

    @property
    @override
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    @property
    @override
    def training_facts(self) -> dict[str, Any]:
        name = self.config.get("_name_or_path")
        return {"config._name_or_path": sanitize_message(name)[:120] if isinstance(name, str) and name else None}

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        return hub_config.recipe(self, given, tokenizer)

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number of `config.json`; a missing one has its default, which is noted in `supposed`.

        Raises:
            InputError: it is no number, or it is missing and has no default.
        """
        value = self.config.get(key)
        if value is None and default is not None:
            self.supposed.append(key)
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refusal(f"its `config.json` says `{key}` = {shown(value)}, and a number is needed")
        return float(value)

    def _kind(self, weights: StoredWeights) -> Kind:
        if any(name.startswith("model.layers.") and ".self_attn." in name for name in weights):
            raise self.refusal(
                f"its weights `model.layers.*.self_attn.*` belong to a network like Llama, and its `config.json` says "
                f"`model_type` = {shown(self.config.get('model_type'))}. Of such networks only gidd-unif and gidd-mask "
                "(`model_type` gidd) are read. The layout of Sumi was not found in public sources"
            )
        if is_pretrained(self.config):
            raise self.refusal(
                "`transformers` has its network, which is measured as it is stored. Give it to `uddm probe`, `uddm "
                "audit` or `uddm sample`"
            )
        kind = KINDS.get(str(self.config.get("model_type")).lower())
        if kind is None or (kind.name == "GIDD" and "p_uniform" not in self.config):
            raise self.refusal(
                f"its `config.json` says `model_type` = {shown(self.config.get('model_type'))}, and only UDLM, MDLM, "
                "Duo and GIDD are known, and masked language models and DiffusionGemma of `transformers`"
            )
        if self.config.get("cfg") not in (None, False):
            raise self.refusal("its `config.json` says `cfg` = true, and models of classes are not known")
        return kind

    def _architecture(self) -> dict[str, Any]:
        keys = self.kind.keys
        stated = {name: self.folder.whole(keys[name]) for name in ("hidden_size", "n_blocks", "n_heads", "cond_dim")}
        conditioned = self.config.get("time_conditioning")
        if self.kind.keys is SHARED and not isinstance(conditioned, bool):
            self.supposed.append("time_conditioning")
        conditioned = conditioned if isinstance(conditioned, bool) else self.kind.time_conditioning
        return {**stated, "dropout": self.number(keys["dropout"], 0.0), "time_conditioning": conditioned}

    def _checked_shapes(self, weights: StoredWeights, states: int) -> dict[str, tuple[int, ...]]:
        """Compare names and shapes of the weights, and the rotary angles, with those of our DiT; return the shapes."""
        prefix = self.kind.prefix
        if self.architecture["n_blocks"] > len(weights):  # before a network of that many blocks is made
            raise self.refusal(
                f"its `config.json` says {self.architecture['n_blocks']} blocks for {len(weights)} tensors"
            )
        try:
            with torch.device("meta"):
                ours = DiT(states, **self.architecture)
        except (ValueError, RuntimeError) as error:  # the latter where a number is absurdly large
            raise self.refusal(f"its `config.json` describes no network: {first_line(error)}") from error
        shapes = {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()}
        stored = {name: entry.shape for name, entry in weights.entries.items()}
        buffers = {prefix + name for name in (FREQUENCIES, COSINES, SINES)}
        for name in [*(prefix + name for name in shapes), *sorted(stored.keys() - buffers)]:
            here, there = shapes.get(name.removeprefix(prefix)), stored.get(name)
            if here != there or not name.startswith(prefix):
                stated = "missing" if there is None else f"of shape {there}"
                needed = "missing" if here is None else f"of shape {here}"
                raise self.refusal(f"`{sanitize_message(name)[:120]}` is {stated} in it and {needed} in our network")
        self._check_rotary(weights)
        return shapes

    def _check_rotary(self, weights: StoredWeights) -> None:
        rotary = RotaryEmbedding(self.architecture["hidden_size"] // self.architecture["n_heads"])
        prefix, wrong = self.kind.prefix, ""
        if prefix + FREQUENCIES in weights.entries:
            stated = weights[prefix + FREQUENCIES].double()
            if stated.shape != rotary.inv_freq.shape or not torch.allclose(stated, rotary.inv_freq.double(), rtol=1e-2):
                wrong = FREQUENCIES  # they may be in half precision
        if prefix + COSINES in weights.entries:
            shape = weights.entries[prefix + COSINES].shape
            if len(shape) != 5 or shape[1] > self.folder.whole(self.kind.keys["length"]):
                wrong = COSINES
            else:
                cos_LK = rotary(shape[1])[0]
                stated = weights[prefix + COSINES][0, :, 0, 0].float()
                wrong = wrong if stated.shape == cos_LK.shape and torch.allclose(stated, cos_LK, atol=2e-2) else COSINES
        if wrong:
            raise self.refusal(f"its `{wrong}` does not belong to {self.architecture['n_heads']} attention heads")

    def _find_mask(self, states: int, about: dict[str, Any]) -> None:
        """Find the id of the mask token, and take it out of the tokenizer."""
        try:
            found = None if self.tokenizer is None else find_mask(self.tokenizer, about)
            mask_id = states - 1 if found is None else found
            self.tokenizer = None if self.tokenizer is None else without_token(self.tokenizer, mask_id)
        except (ValueError, RecursionError) as error:
            raise self.refusal(f"its `{TOKENIZER}` is damaged ({first_line(error)})") from error
        if not 0 <= mask_id < states:
            raise self.refusal(f"the mask token of its tokenizer is id {found}, and its network has {states} ids")
        self.mask_id = mask_id
        why = "the last one, because no tokenizer names another" if found is None else "as its tokenizer says"
        moved = "" if mask_id == states - 1 else f"; it becomes the last one, {states - 1}, and larger ids move"
        self.notes = [*self.notes, f"the mask token is id {mask_id}, {why}{moved}; its logit is left out"]
