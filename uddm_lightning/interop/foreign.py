"""A model of another program, with everything that a run needs."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core.errors import InputError, first_line, sanitize_message
from uddm_lightning.core.progress import Progress, progress


class ForeignConfig(NamedTuple):
    """A config, with the assumptions that it needed.

    Attributes:
        config: config of `uddm fit`; missing keys have their defaults.
        assumed: keys that the model does not state and that have the usual values of its kind.
    """

    config: dict[str, Any]
    assumed: list[str]


class ForeignModel(ABC):
    """Base class of models of other programs.

    Attributes:
        path: file or folder, for messages.
        layout: name of the layout.
        files: files with the weights.
        step: number of optimizer steps; None if it is not known.
        vocab_size: V, without the mask token of an absorbing or hybrid process.
        length: largest number of positions; None if it is not known.
        shapes: of the weights, by the parameter names of `DiT`.
        raw: the trained weights; they are read on use.
        averaged: their moving average. It is the same as `raw` if there is one set of weights only.
        ema_decay: final decay of the average; 0 if there is none, None if there is one set of weights only.
        left_out: entries that do not belong to the network.
        tokenizer: content of its `tokenizer.json`; None if there is none.
        training_facts: statements of the model about its training, by key.
        notes: sentences for the user about what was found and assumed.
    """

    path: Path
    layout: str
    files: list[Path]
    step: int | None
    vocab_size: int
    length: int | None
    raw: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    ema_decay: float | None
    left_out: list[str]
    tokenizer: str | None
    notes: Sequence[str] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by name."""
        return {name: tuple(stored.shape) for name, stored in self.raw.items()}

    @property
    def training_facts(self) -> dict[str, Any]:
        """Statements of the model about its training, by key."""
        return {}

    @abstractmethod
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        """Return the config of a run of this model.

        Args:
            given: parts of the `data` section that the user gives; they stand in for those of the model.
            tokenizer: file of its tokenizer, if it has one.

        Raises:
            InputError: a setting without a usual value is missing, and `given` does not contain it.
        """

    @torch.no_grad()
    def copy(self, weights: Mapping[str, Tensor], backbone: torch.nn.Module) -> None:
        """Copy weights into a network.

        Raises:
            InputError: a weight is NaN or infinite.
        """
        for name, parameter in progress(list(backbone.named_parameters()), "copying weights"):
            weight = weights[name]
            if not weight.isfinite().all():
                raise self.refusal(f"`{name}` in it holds NaN or infinity")
            parameter.copy_(weight)

    def shapes_of(self, build: Callable[[], torch.nn.Module]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters of a network by name, without memory for their values.

        Raises:
            InputError: the settings of the model are not those of a network.
        """
        try:
            with torch.device("meta"):
                network = build()
        except (ValueError, RuntimeError) as error:  # the latter where a number is absurdly large
            raise self.refusal(f"its settings describe no network: {first_line(error)}") from error
        return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}

    def compare_shapes(self, found: Mapping[str, Sequence[int]], needed: Mapping[str, Sequence[int]]) -> None:
        """Compare names and shapes of weights with those that our network needs.

        Raises:
            InputError: a weight is missing, has another shape, or is not known.
        """
        for name in [*needed, *sorted(found.keys() - needed.keys())]:
            here, there = (None if one is None else tuple(one) for one in (needed.get(name), found.get(name)))
            if here != there:
                stated, wanted = ("missing" if one is None else f"of shape {one}" for one in (there, here))
                raise self.refusal(f"`{sanitize_message(name)[:120]}` is {stated} in it and {wanted} in our network")

    def sha256(self) -> str:
        """Return the hex SHA-256 of the files with the weights, one after the other."""
        return hash_files(self.files)

    def refusal(self, why: str) -> InputError:
        """Return the error that says why the model cannot be converted."""
        return InputError(f"`{self.path}` cannot be converted: {why}.")


def hash_files(files: Sequence[Path]) -> str:
    """Return the hex SHA-256 of files, one after the other."""
    found = hashlib.sha256()
    with Progress("SHA-256", sum(file.stat().st_size for file in files), "B") as bar:
        for path in files:
            with path.open("rb") as file:
                while piece := file.read(2**20):
                    found.update(piece)
                    bar.update(len(piece))
    return found.hexdigest()
