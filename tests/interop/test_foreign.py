"""Checks of weights that all foreign models share."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typing_extensions import override

from uddm_lightning.core.errors import InputError
from uddm_lightning.interop.foreign import ForeignConfig, ForeignModel, hash_files


class Linear(ForeignModel):
    """A model with one weight matrix."""

    def __init__(self, files: list[Path]) -> None:
        self.path, self.files = Path("linear.ckpt"), files
        self.raw = self.averaged = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}

    @override
    def recipe(self, given: dict[str, Any], tokenizer: Path | None) -> ForeignConfig:
        return ForeignConfig({}, [])


def test_weights_are_copied_by_name() -> None:
    model, layer = Linear([]), nn.Linear(3, 2)
    assert model.shapes == {"weight": (2, 3), "bias": (2,)}
    assert model.shapes_of(lambda: nn.Linear(3, 2)) == model.shapes
    model.copy(model.raw, layer)
    assert torch.equal(layer.weight, torch.ones(2, 3))
    with pytest.raises(InputError, match=r"`linear\.ckpt` cannot be converted: `bias` in it holds NaN or infinity\."):
        model.copy({**model.raw, "bias": torch.full((2,), torch.inf)}, layer)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": [2]}, "`b` is missing in it and of shape (3,) in our network"),
        ({"a": [2], "b": [4]}, "`b` is of shape (4,) in it and of shape (3,) in our network"),
        ({"a": [2], "b": [3], "c\x1b": [1]}, "is of shape (1,) in it and missing in our network"),
    ],
)
def test_other_shapes_are_refused(found: dict[str, list[int]], message: str) -> None:
    model, needed = Linear([]), {"a": (2,), "b": (3,)}
    model.compare_shapes({"b": [3], "a": [2]}, needed)
    with pytest.raises(InputError) as refused:
        model.compare_shapes(found, needed)
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_settings_without_a_network_are_refused() -> None:
    def build() -> nn.Module:
        raise ValueError("no heads\nsecond line")

    with pytest.raises(InputError, match=r"its settings describe no network: no heads\."):
        Linear([]).shapes_of(build)


def test_the_hash_is_that_of_the_files_one_after_the_other(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_bytes(file.name.encode() * 10)
    expected = hashlib.sha256(b"one" * 10 + b"two" * 10).hexdigest()
    assert Linear(files).sha256() == hash_files(files) == expected
