"""Read checkpoints in the layout of s-sahoo/duo.

`state_dict` holds the trained weights by name. `ema.shadow_params` holds the averaged weights in the order of the
model's parameters. `hyper_parameters.config` holds the settings as a tree of OmegaConf nodes. Our DiT uses the
parameter names of Duo's.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones import DiT
from uddm_lightning.backbones.dit import RotaryEmbedding
from uddm_lightning.interop.duo_config import recipe
from uddm_lightning.interop.foreign import ForeignConfig, ForeignModel
from uddm_lightning.interop.safe_load import DamagedError, OpaqueObject, safe_load

Scalar = str | bytes | int | float | bool | None

BACKBONE = "backbone."
FREQUENCIES = "rotary_emb.inv_freq"  # a buffer, which our network computes
WRAPPERS = ("_orig_mod", "module")  # parts of names that `torch.compile` and data parallelism add

# Settings with which our process, network and loss are those of the file. A network with `algo.parameterization: mean`
# that was trained on the likelihood bound predicts every token from the others (leave-one-out).
MUST_BE: dict[str, tuple[Scalar, ...]] = {
    "algo.name": ("duo", "duo_base", "udlm"),
    "algo.backbone": ("dit",),
    "algo.parameterization": ("mean",),
    "algo.causal_attention": (False,),
    "algo.time_conditioning": (True, False),
    "algo.T": (0,),
    "noise.type": ("log-linear",),
}


class Settings:
    """The settings of a checkpoint, by dotted keys.

    Args:
        root: root of the tree of OmegaConf nodes, as placeholders.
    """

    def __init__(self, root: Any) -> None:
        self.root = root

    def __getitem__(self, key: str) -> Scalar:
        """Return the value of a dotted key; None without a plain value, as for a reference `${...}`."""
        node = self.root
        for name in key.split("."):
            node = node.attributes().get("_content") if isinstance(node, OpaqueObject) else node
            node = node.get(name) if isinstance(node, dict) else None
        value = node.attributes().get("_val") if isinstance(node, OpaqueObject) else node
        if isinstance(value, str):
            return value if value.isprintable() and not value.startswith(("${", "???")) else None
        is_plain = isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < 2**63)  # NaN: not plain
        return value if is_plain else None

    def number(self, key: str) -> float | None:
        """Return the value if it is a number."""
        value = self[key]
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def whole(self, key: str) -> int | None:
        """Return the value if it is an integer."""
        value = self[key]
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, key: str) -> str | None:
        """Return the value if it is text that is not empty."""
        value = self[key]
        return value if isinstance(value, str) and value else None


class DuoCheckpoint(ForeignModel):
    """A checkpoint in Duo's layout.

    Args:
        path: the file.

    Attributes:
        settings: the settings that the model was trained with.
        step: number of finished optimizer steps.
        vocab_size: V.
        architecture: arguments of `DiT`.
        raw: the trained weights, by the parameter names of `DiT`; they are read from the file on use.
        averaged: their moving average; the trained weights themselves if the file holds no average.
        ema_decay: final decay of the average; 0 if the file holds none.
        left_out: entries of `state_dict` that do not belong to the network.
        tokenizer: content of the `tokenizer.json` that was saved with the model, or None.

    Raises:
        InputError: the file is damaged, has another layout, or holds a model that this package does not have.
    """

    layout = "s-sahoo/duo"

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, [path]
        try:
            loaded = safe_load(path)
        except DamagedError as error:
            raise self.refusal(str(error)) from error
        content = loaded if isinstance(loaded, dict) else {}
        hyper_parameters = self._entry(content, "hyper_parameters")
        self.settings = Settings(self._entry(hyper_parameters, "config"))
        step = content.get("global_step")
        if type(step) is not int or not 0 <= step < 2**32:
            raise self.refusal("its `global_step` is no number of steps")
        self.step = step
        self._check_model()
        self.length = self.settings.whole("model.length")
        self.weights, self.left_out = self._network(self._entry(content, "state_dict"))
        self.vocab_size, self.architecture = self._architecture()
        self._check_network()
        self.raw = self.weights
        self.averaged, self.ema_decay = self._average(content.get("ema"))
        self.tokenizer = _tokenizer(hyper_parameters.get("tokenizer"))

    @property
    @override
    def training_facts(self) -> dict[str, Any]:
        names = ("data.train", "data.subset", "data.tokenizer_name_or_path", "algo.name")
        return {name: self.settings[name] for name in names}

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        return recipe(self, given, tokenizer)

    def _check_model(self) -> None:
        for key, values in MUST_BE.items():
            value = self.settings[key]
            needed = key in ("algo.name", "noise.type")
            if (value is not None or needed) and not any(value == v and type(value) is type(v) for v in values):
                raise self.refusal(f"its `{key}` is {_shown(value)}, and only {_shown(*values)} is known here")

    def _network(self, state: dict[Any, Any]) -> tuple[dict[str, Tensor], list[str]]:
        network: dict[str, Tensor] = {}
        left_out = []
        for name, value in state.items():
            if not (isinstance(name, str) and name.isprintable()):
                raise self.refusal("a name in its `state_dict` is no text")
            plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
            if not plain.startswith(BACKBONE):
                left_out.append(plain)
                continue
            plain = plain.removeprefix(BACKBONE)
            if plain in network:
                raise self.refusal(f"its `state_dict` holds `{BACKBONE}{plain}` twice")
            network[plain] = self._checked(value, f"`{name}` in its `state_dict`")
        return network, left_out

    def _architecture(self) -> tuple[int, dict[str, Any]]:
        table = self._shape("vocab_embed.embedding", 2)
        conditioning = self._shape("sigma_map.mlp.0.weight", 2)[0]
        blocks = {name.split(".")[1] for name in self.weights if name.startswith("blocks.")}
        found = {"hidden_size": table[1], "cond_dim": conditioning, "n_blocks": len(blocks)}
        for name, value in found.items():
            stated = self.settings[f"model.{name}"]
            if stated is not None and stated != value:
                raise self.refusal(f"its settings say `model.{name}` = {_shown(stated)}, its weights {value}")
        heads = self.settings.whole("model.n_heads")
        if heads is None:
            raise self.refusal("its settings do not say `model.n_heads`, which its weights do not show")
        dropout = self.settings.number("model.dropout") or 0.0
        conditioned = self.settings["algo.time_conditioning"] is not False
        untold = {} if conditioned else {"time_conditioning": False}
        return table[0], {**found, "n_heads": heads, "dropout": dropout, **untold}

    def _check_network(self) -> None:
        """Compare names, order and shapes of the weights, and the rotary frequencies, with those of our DiT."""
        wanted = self.shapes_of(lambda: DiT(self.vocab_size, **self.architecture))
        frequencies = self.weights.pop(FREQUENCIES, None)
        found = {BACKBONE + name: weight.shape for name, weight in self.weights.items()}
        self.compare_shapes(found, {BACKBONE + name: shape for name, shape in wanted.items()})
        if list(wanted) != list(self.weights):
            raise self.refusal("its weights stand in another order than Duo's, so which average is whose is not known")
        if frequencies is not None:
            features = self.architecture["hidden_size"] // self.architecture["n_heads"]
            stated, known = frequencies.double(), RotaryEmbedding(features).inv_freq.double()
            if stated.shape != known.shape or not torch.allclose(
                stated, known, rtol=1e-2
            ):  # they may be in half precision
                raise self.refusal(
                    f"its `{FREQUENCIES}` does not belong to `model.n_heads` = {self.architecture['n_heads']}"
                )

    def _average(self, ema: Any) -> tuple[dict[str, Tensor], float]:
        if ema is None:
            return self.weights, 0.0
        shadows = self._entry({"ema": ema}, "ema").get("shadow_params")
        decay = ema.get("decay")
        stated = self.settings.number("training.ema")
        if not isinstance(shadows, list):
            raise self.refusal("its `ema` holds no list `shadow_params`")
        if not isinstance(decay, float) or not 0.0 <= decay < 1.0 or (stated is not None and stated != decay):
            raise self.refusal(f"`ema.decay` in it is {_shown(decay)}, its settings say {_shown(stated)}")
        if len(shadows) != len(self.weights):
            raise self.refusal(
                f"`ema.shadow_params` in it holds {len(shadows)} tensors for {len(self.weights)} weights"
            )
        averaged = {}
        for number, (name, shadow) in enumerate(zip(self.weights, shadows, strict=True)):
            averaged[name] = self._checked(shadow, f"`ema.shadow_params[{number}]` in it")
            if averaged[name].shape != self.weights[name].shape:
                raise self.refusal(
                    f"`ema.shadow_params[{number}]` in it is of shape {tuple(averaged[name].shape)}, but the weight in "
                    f"its place, `{BACKBONE}{name}`, of shape {tuple(self.weights[name].shape)}"
                )
        return averaged, decay

    def _shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        if name not in self.weights or len(self.weights[name].shape) != dimensions:
            raise self.refusal(f"its `state_dict` holds no table `{BACKBONE}{name}`")
        return self.weights[name].shape

    def _entry(self, content: dict[Any, Any], name: str) -> Any:
        entry = content.get(name)
        if isinstance(entry, dict) or (isinstance(entry, OpaqueObject) and name == "config"):
            return entry
        raise self.refusal(f"it holds no `{name}`, so it is not in the layout of s-sahoo/duo")

    def _checked(self, value: Any, what: str) -> Tensor:
        """Return a tensor without the attributes that a file may have set on it."""
        if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided or value.is_nested:
            raise self.refusal(f"{what} is no tensor")
        tensor = Tensor.detach(value)
        if tensor.is_meta or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise self.refusal(f"{what} is larger than its data in the file")
        if not tensor.is_floating_point():
            raise self.refusal(f"{what} holds no real numbers")
        return tensor


def _tokenizer(placeholder: Any) -> str | None:
    """Return the `tokenizer.json` of a saved fast tokenizer of transformers, which keeps it as bytes."""
    inner = placeholder.attributes().get("_tokenizer") if isinstance(placeholder, OpaqueObject) else None
    if isinstance(inner, OpaqueObject) and inner.path == "tokenizers.Tokenizer" and isinstance(inner.state, bytes):
        return inner.state.decode("utf-8", "replace")
    return None


def _shown(*values: Any) -> str:
    """Return values of the file as text for a message."""
    return " or ".join("not there" if value is None else _one(value) for value in values)


def _one(value: Any) -> str:
    if isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)[:80]
    return "no such value"  # an object, or a number too long to be written down
