"""Every metric of the package, and random draws as input."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from uddm_lightning.metrics import (
    ClassificationMargin,
    ConditionalEntropy,
    CriticalTime,
    Nelbo,
    RowIds,
    TokenRecovery,
    TrajectoryPoint,
)
from uddm_lightning.metrics.functional import PredictionSpread
from uddm_lightning.metrics.rowwise import RowwiseMetric

ROWS, LENGTH, VOCAB = 23, 11, 5


def toy(seed: int = 0) -> dict[str, Tensor]:
    """Return draws of rows, some repeated and some fillers."""
    g = torch.Generator().manual_seed(seed)
    shape = (ROWS, LENGTH)
    x0 = torch.randint(VOCAB, shape, generator=g)
    xt = torch.where(torch.rand(shape, generator=g) < 0.4, torch.randint(VOCAB, shape, generator=g), x0)
    rows = torch.randint(9, (ROWS,), generator=g)
    rows[::7] = -1
    return {
        "x0": x0,
        "xt": xt,
        "xhat": torch.where(torch.rand(shape, generator=g) < 0.7, x0, xt.flip(0)),
        "counted": torch.rand(shape, generator=g) < 0.8,
        "rows": rows,
        "real": torch.rand(shape, generator=g) * math.log(VOCAB),
        "leak": torch.rand(ROWS, generator=g),
        "places": torch.arange(ROWS),
        "leak_counted": torch.rand(ROWS, generator=g) < 0.8,
    }


def feed(metric: RowwiseMetric, d: dict[str, Tensor]) -> None:
    match metric:
        case TokenRecovery():
            metric.update(d["x0"], d["xt"], d["xhat"], d["counted"], RowIds(d["rows"]), d["real"] / 2)
        case ConditionalEntropy():
            hit, restored = d["xt"] != d["x0"], d["xhat"] == d["x0"]
            metric.update(d["real"], hit, d["counted"], RowIds(d["rows"]), restored)
            metric.update_clean(d["real"] / 3, d["leak"], d["counted"], d["leak_counted"], RowIds(d["rows"]))
        case ClassificationMargin():
            metric.update(d["real"] - 0.5, d["counted"], RowIds(d["rows"]))
        case Nelbo():
            metric.update(d["real"], d["counted"], RowIds(d["rows"]))
        case TrajectoryPoint():
            metric.update(
                PredictionSpread(*(d["real"] / number for number in range(1, 6))), d["counted"], RowIds(d["rows"])
            )
        case CriticalTime():
            chains = d["x0"][:, :2]
            metric.update(chains, chains // 2, d["leak"], d["real"], d["counted"], RowIds(d["rows"], None, d["places"]))


MAKERS: list[Callable[[], RowwiseMetric]] = [
    TokenRecovery,
    lambda: ConditionalEntropy(VOCAB, 8),
    ClassificationMargin,
    Nelbo,
    lambda: TrajectoryPoint(VOCAB),
    lambda: CriticalTime(LENGTH, (0.1, 0.5)),
]
NAMES = ["recovery", "entropy", "margin", "nelbo", "trajectory", "basin"]
every_metric = pytest.mark.parametrize("make", MAKERS, ids=NAMES)


def plain(result: Any) -> dict[str, Any]:
    """Return a result with floats in hexadecimal, so that NaN equals NaN and every bit counts."""
    exact: dict[str, Any] = {}
    for name, value in result._asdict().items():
        if isinstance(value, dict):  # columns of draws
            value = [float(number).hex() for column in value.values() for number in column]
        listed = value.tolist() if isinstance(value, Tensor) else value
        exact[name] = listed if isinstance(listed, list) else float(listed).hex()
    return exact


def computed(make: Callable[[], RowwiseMetric], pieces: list[dict[str, Tensor]]) -> dict[str, Any]:
    metric = make()
    for piece in pieces:
        feed(metric, piece)
    return plain(metric.compute())


def take(d: dict[str, Tensor], places: Tensor) -> dict[str, Tensor]:
    return {name: values[places] for name, values in d.items()}
