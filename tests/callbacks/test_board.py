"""What is written for TensorBoard: descriptions, histograms and settings."""

from typing import Any

import numpy as np
import torch

from uddm_lightning.callbacks.board import add_histograms, add_image, add_scalar, add_settings
from uddm_lightning.probes.base import Histogram


class Writer:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.summaries: list[Any] = []
        self.raw: dict[str, dict[str, Any]] = {}
        self.values: dict[str, list[float]] = {}

    def _get_file_writer(self) -> "Writer":
        return self

    def add_summary(self, summary: Any, step: int | None = None) -> None:
        self.summaries += [(value, step) for value in summary.value]

    def add_histogram_raw(self, tag: str, **fields: Any) -> None:
        self.raw[tag] = fields

    def add_histogram(self, tag: str, values: Any, step: int) -> None:
        self.values[tag] = values.tolist()


def test_scalars_and_pictures_have_their_description() -> None:
    writer: Any = Writer()
    add_scalar(writer, "recovery", 0.5, "a *share*", 7)
    add_image(writer, "figure", np.zeros((2, 3, 3), np.uint8), "a picture", 8)
    (scalar, step), (image, _) = writer.summaries
    assert (scalar.tag, scalar.simple_value, step) == ("recovery", 0.5, 7)
    assert scalar.metadata.summary_description == "a *share*"
    assert (image.image.height, image.image.width, image.metadata.plugin_data.plugin_name) == (2, 3, "images")


def test_histograms_stand_behind_all_other_tags() -> None:
    writer: Any = Writer()
    counted = Histogram(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0, 2, 1]))
    empty = Histogram(torch.tensor([0.0, 1.0]), torch.tensor([0]))
    record = {
        "split": "test",
        "weights": "ema",
        "t": 0.1,
        "_histograms": {"margin": counted, "none": empty, "loss": [1.0, 2.0]},
    }
    add_histograms(writer, [record, {"split": "test"}], 3)
    ((tag, found),) = writer.raw.items()
    assert tag.startswith("zz_margin")
    assert (found["min"], found["max"], found["num"], found["sum"]) == (1.0, 3.0, 3, 2 * 1.5 + 2.5)
    assert list(writer.values.values()) == [[1.0, 2.0]]


def test_settings_refer_to_scalars() -> None:
    writer: Any = Writer()
    add_settings(writer, {"lr": 0.1}, {"recovery": 0.5})
    assert len(writer.summaries) == 3
