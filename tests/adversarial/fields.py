"""Find every numeric field of a config by inspecting the package, so that new fields are included."""

import inspect
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer

from tests.support.plugins import plugins
from uddm_lightning.backbones import Backbone
from uddm_lightning.critics import Critic
from uddm_lightning.data import Packing, Source, TextDataModule, Tokenizer
from uddm_lightning.objectives import Objective
from uddm_lightning.probes import BasinProbe, EntropyProbe, NelboProbe, RecoveryProbe, SampleProbe, TrajectoryProbe
from uddm_lightning.processes import Process
from uddm_lightning.processes.schedules import Schedule
from uddm_lightning.samplers import Sampler
from uddm_lightning.training.lr_schedules import LRSchedule
from uddm_lightning.training.task import DiffusionTask

# key of each kind of class in a config
PLUGINS: dict[type, tuple[str, ...]] = {
    Source: ("data.source",),
    Tokenizer: ("data.tokenizer",),
    Packing: ("data.packing",),
    Process: ("model.process",),
    Schedule: ("model.process.init_args.schedule",),
    Backbone: ("model.backbone",),
    Objective: ("model.objective",),
    Sampler: ("model.sampler", "recovery.sampler", "basin.sampler"),
    Critic: ("samples.critic",),
    LRSchedule: ("model.lr_schedule",),
    torch.optim.Optimizer: ("model.optimizer",),
}
FIXED: dict[type, str] = {
    TextDataModule: "data",
    DiffusionTask: "model",
    RecoveryProbe: "recovery",
    EntropyProbe: "entropy",
    NelboProbe: "nelbo",
    SampleProbe: "samples",
    TrajectoryProbe: "trajectory",
    BasinProbe: "basin",
    Trainer: "trainer",
}
LINKED = {("data", "seed"), ("model", "seed"), ("model", "vocab_size")}  # set by the command line


class Field(NamedTuple):
    """One numeric field.

    Attributes:
        path: keys from the top of the config.
        slot: keys of the choice of its class; empty without a choice.
        class_path: class path to set at `slot`.
        listed: whether the field is a list of numbers.
    """

    path: tuple[str, ...]
    slot: tuple[str, ...] = ()
    class_path: str = ""
    listed: bool = False

    @property
    def name(self) -> str:
        return f"{self.class_path.rpartition('.')[2]}.{self.path[-1]}" if self.class_path else ".".join(self.path)


def fields() -> list[Field]:
    """Return all numeric fields in a fixed order."""
    found = [Field(("threads",)), Field(("seed_everything",))]
    for kind, group in FIXED.items():
        for name, listed in _numeric(kind):
            if (group, name) not in LINKED:
                found.append(Field((group, name), listed=listed))
    for base, places in PLUGINS.items():
        for kind in _concrete(base):
            for place in places:
                slot = tuple(place.split("."))
                for name, listed in _numeric(kind):
                    path = (*slot, "init_args", name)
                    found.append(Field(path, slot, f"{kind.__module__}.{kind.__qualname__}", listed))
    return found


def _numeric(kind: type) -> Iterator[tuple[str, bool]]:
    """Return the numeric arguments of a constructor and of its bases, and whether each takes a list."""
    hints: dict[str, Any] = {}
    for owner in kind.__mro__:
        own = inspect.signature(owner.__init__).parameters
        hints = {**{name: typing.get_type_hints(owner.__init__).get(name) for name in own}, **hints}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()):
            break
    for name, annotation in hints.items():
        if name in ("self", "vocab_size") and not issubclass(kind, Tokenizer):
            continue
        if _mentions(annotation, sequences=False):
            yield name, False
        elif _mentions(annotation, sequences=True):
            yield name, True


def _mentions(annotation: Any, sequences: bool) -> bool:
    """Return whether a type is a number or a union with one, or, if requested, a sequence of numbers."""
    if annotation in (int, float):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    is_sequence = isinstance(origin, type) and issubclass(origin, Sequence)
    is_union = origin is typing.Union or type(annotation).__name__ == "UnionType"
    if is_union or (sequences and is_sequence):
        return any(_mentions(argument, sequences) for argument in arguments if argument is not Ellipsis)
    return False


def _concrete(base: type) -> list[type]:
    """Return every concrete subclass of `base` in the package; for optimizers, only that of the paper."""
    if base is torch.optim.Optimizer:
        return [torch.optim.AdamW]
    return plugins(base)
