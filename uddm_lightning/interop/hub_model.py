"""Models in the hub's layout whose network is our DiT: UDLM, MDLM, Duo and GIDD."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from typing_extensions import override

from uddm_lightning.backbones import DiT
from uddm_lightning.backbones.dit import RotaryEmbedding
from uddm_lightning.core.errors import sanitize_message
from uddm_lightning.interop import hub_config
from uddm_lightning.interop.folder_model import FolderModel
from uddm_lightning.interop.foreign import ForeignConfig
from uddm_lightning.interop.hub_folder import StoredWeights, shown
from uddm_lightning.interop.pretrained_settings import is_pretrained

WHOLE = ("hidden_size", "n_blocks", "n_heads", "cond_dim")  # sizes of the network
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


KINDS = {
    "udlm": Kind("UDLM", "backbone.", SHARED, "UniformProcess"),
    "mdlm": Kind("MDLM", "backbone.", SHARED, "AbsorbingProcess", time_conditioning=False),
    "duo": Kind("Duo", "backbone.", SHARED, "UniformProcess"),
    "dit": Kind("GIDD", "", OF_GIDD, "HybridProcess"),
}


class HubModel(FolderModel):
    """A model in the hub's layout whose network is `DiT`.

    Args:
        path: the folder.

    Attributes:
        kind: kind of the model.

    Raises:
        InputError: a file is missing or damaged, or this package does not have the network.
    """

    tables = ("vocab_embed.embedding", "output_layer.linear.weight", "output_layer.linear.bias")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kind = self._kind()
        self.has_mask = self.kind.process != "UniformProcess"
        self.layout = f"Hugging Face hub, {self.kind.name}"
        ids = self.folder.whole("vocab_size", 2)
        self.length = self.folder.whole(self.kind.keys["length"])
        self.architecture = self._architecture()
        names = self.check_shapes(ids, {self.stored_name(name) for name in (FREQUENCIES, COSINES, SINES)})
        self._check_rotary(self.folder.weights)
        if self.has_mask:
            self._find_mask(ids)
        self.vocab_size = ids - self.has_mask
        self.raw = self.averaged = self.network_weights(names, ids)
        self.left_out = sorted(self.folder.weights.keys() - set(self.raw.names.values()))

    @property
    @override
    def training_facts(self) -> dict[str, Any]:
        name = self.settings.value("_name_or_path")
        return {"config._name_or_path": sanitize_message(name)[:120] if isinstance(name, str) and name else None}

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        return hub_config.recipe(self, given, tokenizer)

    @override
    def network(self, ids: int) -> DiT:
        return DiT(ids, **self.architecture)

    @override
    def stored_name(self, name: str) -> str:
        return self.kind.prefix + name

    def _kind(self) -> Kind:
        config = self.folder.config
        if any(name.startswith("model.layers.") and ".self_attn." in name for name in self.folder.weights):
            raise self.refusal(
                f"its weights `model.layers.*.self_attn.*` belong to a network like Llama, and its `config.json` says "
                f"`model_type` = {shown(config.get('model_type'))}. Of such networks only gidd-unif and gidd-mask "
                "(`model_type` gidd) are read. The layout of Sumi was not found in public sources"
            )
        if is_pretrained(config):
            raise self.refusal(
                "`transformers` has its network, which is measured as it is stored. Give it to `uddm probe`, `uddm "
                "audit` or `uddm sample`"
            )
        kind = KINDS.get(str(config.get("model_type")).lower())
        if kind is None or (kind.name == "GIDD" and "p_uniform" not in config):
            raise self.refusal(
                f"its `config.json` says `model_type` = {shown(config.get('model_type'))}, and only UDLM, MDLM, "
                "Duo and GIDD are known, and masked language models and DiffusionGemma of `transformers`"
            )
        if config.get("cfg") not in (None, False):
            raise self.refusal("its `config.json` says `cfg` = true, and models of classes are not known")
        return kind

    def _architecture(self) -> dict[str, Any]:
        keys, settings = self.kind.keys, self.settings
        found: dict[str, Any] = {name: self.folder.whole(keys[name]) for name in WHOLE}
        found["dropout"] = settings.number(keys["dropout"], 0.0)
        if keys is SHARED:
            found["time_conditioning"] = settings.switch("time_conditioning", self.kind.time_conditioning)
        return found

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

    def _find_mask(self, ids: int) -> None:
        is_named = self.take_out_mask(ids, usual=ids - 1)
        why = "as its tokenizer says" if is_named else "the last one, because no tokenizer names another"
        moved = "" if self.mask_id == ids - 1 else f"; it becomes the last one, {ids - 1}, and larger ids move"
        self.notes = [*self.notes, f"the mask token is id {self.mask_id}, {why}{moved}; its logit is left out"]
