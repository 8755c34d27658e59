"""Weights of a folder by the names of our networks, with the rows of ids in our order."""

import torch
from torch import Tensor

from uddm_lightning.interop.folder_model import NetworkWeights

STORED = {"model.table": torch.arange(8.0).view(4, 2), "model.norm": torch.ones(4)}
NAMES = {"table": "model.table", "norm": "model.norm"}


def weights(ids: list[int] | None) -> dict[str, Tensor]:
    return dict(NetworkWeights(STORED, NAMES, ("table",), ids))


def test_rows_of_tables_are_in_the_order_of_the_ids() -> None:
    found = weights([0, 2, 3, 1])  # the mask token is id 1 of the folder
    assert found["table"].tolist() == [[0.0, 1.0], [4.0, 5.0], [6.0, 7.0], [2.0, 3.0]]
    assert weights([0, 2, 3])["table"].tolist() == found["table"][:3].tolist()
    assert found["norm"] is STORED["model.norm"]
    assert weights(None)["table"] is STORED["model.table"]


def test_weights_are_read_when_they_are_asked_for() -> None:
    read = NetworkWeights({}, NAMES, (), None)
    assert (list(read), len(read), "table" in read.names) == (["table", "norm"], 2, True)
