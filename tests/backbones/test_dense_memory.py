"""Dense associative memory against its energy and against Hebb's rule."""

import pytest
import torch
from torch import Tensor

from uddm_lightning.backbones import DenseAssociativeMemory, HebbMemory
from uddm_lightning.backbones import TextStatistics as Statistics
from uddm_lightning.core.errors import InputError


def prepared(rows: Tensor, ids: int, degree: int, beta: float = 1.0) -> DenseAssociativeMemory:
    backbone = DenseAssociativeMemory(ids, degree, beta)
    backbone.prepare(Statistics(lambda: rows, torch.ones(ids)))
    return backbone


def random_rows(rows: int, length: int, ids: int) -> Tensor:
    return torch.randint(ids, (rows, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("ids", "degree"), [(2, 2), (2, 3), (3, 4)])
def test_differences_of_logits_are_differences_of_energy(ids: int, degree: int) -> None:
    rows, (x,) = random_rows(4, 5, ids), random_rows(1, 5, ids)
    logits = prepared(rows, ids, degree, beta=0.7)(x[None], torch.zeros(1))[0]

    def energy(position: int, value: int) -> float:
        total = 0.0
        for row in rows.tolist():
            here = [value if place == position else int(x[place]) for place in range(5)]
            overlap = sum((ids - 1) if a == b else -1 for a, b in zip(here, row, strict=True))
            total -= 5 * (overlap / 5) ** degree
        return total

    for position in range(5):
        for value in range(ids):
            expected = -0.7 * (energy(position, value) - energy(position, 0))
            assert float(logits[position, value] - logits[position, 0]) == pytest.approx(expected)


def test_degree_2_is_hebb_s_rule_at_twice_the_inverse_temperature() -> None:
    rows, noisy = random_rows(4, 8, 2), random_rows(6, 8, 2)
    hebb = HebbMemory(2, beta=2.0)
    hebb.prepare(Statistics(lambda: rows, torch.ones(2)))
    expected = hebb.head(hebb(noisy, torch.zeros(6))).softmax(-1)
    torch.testing.assert_close(prepared(rows, 2, 2)(noisy, torch.zeros(6)).softmax(-1), expected)


def test_a_higher_degree_stores_more_patterns() -> None:
    """At 40 spins and 80 patterns, Hebb's rule has no fixed point, and degree 5 has all."""
    rows = random_rows(80, 40, 2)
    kept = [
        int((prepared(rows, 2, degree)(rows, torch.zeros(80)).argmax(-1) == rows).all(1).sum()) for degree in (2, 5)
    ]
    assert kept == [0, 80]


@pytest.mark.parametrize(("options", "message"), [({"degree": 1}, "`degree`.*2.*1"), ({"beta": -1.0}, "`beta`.*-1")])
def test_invalid_arguments(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DenseAssociativeMemory(2, **options)  # type: ignore[arg-type] # degree is an int here
