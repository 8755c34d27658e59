"""Checkpoints in Duo's layout, with classes whose modules do not exist when the file is read."""

import pickle
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import yaml
from torch import Tensor

from tests.support.command_line import Outcome
from uddm_lightning.backbones import Backbone, DiT
from uddm_lightning.runs import checkpoints
from uddm_lightning.runs.instantiate import build_task
from uddm_lightning.training.task import DiffusionTask

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "data": {"train": "lm1b", "tokenizer_name_or_path": "bert-base-uncased", "subset": 0.5, "wrap": True},
    "model": {
        "name": "toy",
        "hidden_size": 16,
        "cond_dim": 8,
        "length": 16,
        "n_blocks": 2,
        "n_heads": 2,
        "dropout": 0.1,
        "listed": [1, 2],
    },
    "algo": {
        "name": "duo",
        "backbone": "dit",
        "parameterization": "mean",
        "causal_attention": False,
        "time_conditioning": True,
        "T": 0,
    },
    "training": {"ema": 0.999, "sampling_eps": 0.002},
    "noise": {"type": "log-linear", "eps": 1e-3},
    "optim": {"lr": 2e-4, "beta1": 0.8, "beta2": 0.99, "eps": 1e-9, "weight_decay": 0.01},
    "loader": {"global_batch_size": 64, "batch_size": "${div_up:${.global_batch_size}, 2}"},
    "lr_scheduler": {"num_warmup_steps": 7},
    "trainer": {"gradient_clip_val": 0.5, "max_steps": 100},
}
CLASSES = {
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": ("AnyNode",),
    "transformers.models.bert": ("BertTokenizerFast",),
}
Kinds = dict[str, Any]


def pretended() -> tuple[dict[str, ModuleType], Kinds]:
    """Modules that exist temporarily, and their classes."""
    modules, kinds = {}, {}
    for name, members in CLASSES.items():
        for parent in (name, *(name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))):
            modules.setdefault(parent, ModuleType(parent))
        for member in members:
            kinds[member] = type(member, (), {"__module__": name})
            setattr(modules[name], member, kinds[member])
    return modules, kinds


def made(kind: Any, **attributes: Any) -> Any:
    thing = kind()
    vars(thing).update(attributes)
    return thing


def tree(value: Any, kinds: Kinds, parent: Any = None) -> Any:
    """Return settings as OmegaConf stores them, with parent and metadata in every node."""
    if isinstance(value, dict | list):
        about = made(kinds["ContainerMetadata"], object_type=dict, flags={}, resolver_cache=defaultdict(dict))
        kind = kinds["DictConfig" if isinstance(value, dict) else "ListConfig"]
        node = made(kind, _metadata=about, _parent=parent)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        inner = {name: tree(one, kinds, node) for name, one in pairs}
        node._content = inner if isinstance(value, dict) else list(inner.values())
        return node
    return made(kinds["AnyNode"], _metadata=made(kinds["Metadata"], optional=True), _parent=parent, _val=value)


def save_foreign(
    path: Path,
    raw: DiT,
    averaged: DiT,
    settings: dict[str, Any],
    change: Callable[[dict[str, Any]], object] = lambda _: None,
    tokenizer: Any = None,
) -> Path:
    """Write a checkpoint; `change` may change its content first."""
    modules, kinds = pretended()
    state = OrderedDict()
    for name, value in raw.state_dict().items():
        state[f"backbone.{name}"] = value
        if name == "sigma_map.mlp.2.bias":  # the buffer's name in Duo's network
            state["backbone.rotary_emb.inv_freq"] = raw.rotary_emb.inv_freq
    hyper_parameters: dict[str, Any] = {"config": tree(settings, kinds)}
    if tokenizer is not None:
        hyper_parameters["tokenizer"] = made(kinds["BertTokenizerFast"], _tokenizer=tokenizer, padding_side="right")
    content: dict[str, Any] = {
        "epoch": 4,
        "global_step": 1234,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1.0}]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
        "ema": {"decay": 0.999, "num_updates": 1234, "shadow_params": [p.detach() for p in averaged.parameters()]},
        "sampler": {"random_state": None},
    }
    change(content)
    with patch.dict(sys.modules, modules):
        torch.save(content, path)
    return path


def merged(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return settings with another value under a dotted key; None removes the key."""
    first, _, rest = key.partition(".")
    if rest:
        return {**settings, first: merged(settings[first], rest, value)}
    without = {name: one for name, one in settings.items() if name != first}
    return without if value is None else {**without, first: value}


def zipped(path: Path, data: bytes, records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a file like `torch.save`, with any pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", sys.byteorder)
        for name, content in records.items():
            archive.writestr(f"archive/data/{name}", content)
    return path


def described(storage: Any, offset: Any, shape: Any, stride: Any) -> bytes:
    """Return a pickle that describes one tensor."""

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, OrderedDict())

    class Storage:
        pass

    class Pickler(pickle._Pickler):  # the implementation in Python writes arbitrary ids
        def persistent_id(self, thing: Any) -> Any:
            return storage if isinstance(thing, Storage) else None

    import io

    stream = io.BytesIO()
    Pickler(stream, 2).dump(Tensor())
    return stream.getvalue()


def task_of(run: Path) -> DiffusionTask:
    """Load the model of a run as `uddm validate` does."""
    path = run / "checkpoints" / "last.ckpt"
    found = checkpoints.load(path)
    task = build_task(yaml.safe_load((run / "config.yaml").read_text()), found["hyper_parameters"]["vocab_size"])
    checkpoints.check_fits(path, task)
    task.load_state_dict(found["state_dict"])
    return task.eval()


@torch.no_grad()
def logits(backbone: Backbone, tokens_BL: Tensor, sigma_B: Tensor) -> Tensor:
    return backbone.head(backbone(tokens_BL, sigma_B))


def export(uddm: Callable[..., Outcome], run: Path, folder: Path, *more: str) -> Outcome:
    return uddm("export", run, "--out", folder, *more)
