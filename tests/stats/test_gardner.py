"""Gardner's capacity against numerical integration and a perceptron of maximal margin."""

import math

import numpy as np
import pytest
import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.stats.gardner import gardner_capacity, gardner_margin


def integral(kappa: float) -> float:
    """Return the integral of (z + kappa)^2 phi(z) from -kappa to infinity, by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    low, high = -kappa, 12.0
    z = (high - low) / 2 * nodes + (high + low) / 2
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float((high - low) / 2 * (weights * (z + kappa) ** 2 * density).sum())


@pytest.mark.parametrize("kappa", [0.0, 0.1, 0.4707, 1.0343, 3.0])
def test_the_capacity_is_the_inverse_of_the_integral(kappa: float) -> None:
    assert gardner_capacity(kappa) == pytest.approx(1 / integral(kappa), rel=1e-12)


def test_the_numbers_of_the_theory() -> None:
    assert gardner_capacity(0.0) == pytest.approx(2.0, abs=1e-12)
    assert gardner_margin(1.0) == pytest.approx(0.4707, abs=1e-4)
    assert gardner_margin(0.5) == pytest.approx(1.0343, abs=1e-4)
    assert gardner_margin(2.0) == pytest.approx(0.0, abs=1e-9)
    for gamma in (0.01, 0.3, 1.7):
        assert gardner_capacity(gardner_margin(gamma)) == pytest.approx(gamma, rel=1e-9)


def test_no_learned_margin_exceeds_the_bound_and_the_best_comes_near() -> None:
    """Perceptrons of 200 spins at load 0.5, trained to a large margin: the smallest margin is at most kappa_max.

    With finitely many spins the largest margin fluctuates by a few hundredths around its limit.
    """
    generator = torch.Generator().manual_seed(0)
    spins, patterns, perceptrons = 200, 100, 20
    x = torch.randint(2, (perceptrons, patterns, spins), generator=generator).double() * 2 - 1
    weight = torch.zeros(perceptrons, spins, dtype=torch.float64)
    for step in range(1500):  # gradient of a softened minimum, ever sharper
        unit = weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-9)
        margin = (x @ unit[..., None])[..., 0]
        focus = torch.softmax(-margin * (5 + step / 5), 1)
        weight = unit + 0.3 / (1 + step / 100) * (focus[..., None] * x).sum(1) / math.sqrt(spins)
    unit = weight / weight.norm(dim=1, keepdim=True)
    smallest = (x @ unit[..., None])[..., 0].amin(1)
    assert smallest.mean() == pytest.approx(gardner_margin(0.5), abs=0.06)
    assert smallest.max() < gardner_margin(0.5) + 0.15


@pytest.mark.parametrize(
    ("function", "value"), [(gardner_capacity, -0.1), (gardner_margin, 0.0), (gardner_margin, 2.1)]
)
def test_values_out_of_range_are_refused(function: object, value: float) -> None:
    assert callable(function)
    with pytest.raises(InputError, match=f"got {value}"):
        function(value)
