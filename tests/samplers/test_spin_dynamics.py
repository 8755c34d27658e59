"""Retrieval dynamics against direct simulations, exact distributions and the energy."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from uddm_lightning.backbones import HebbMemory, PseudoLikelihoodMemory, TextStatistics
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import AbsorbingProcess, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import SpinDynamics
from uddm_lightning.samplers.denoiser import Denoiser


def rows(count: int, length: int, seed: int) -> Tensor:
    return torch.randint(2, (count, length), generator=torch.Generator().manual_seed(seed))


def hebb(patterns: Tensor, beta: float = 1.0) -> Denoiser:
    backbone = HebbMemory(2, beta)
    backbone.prepare(TextStatistics(lambda: patterns, torch.ones(2)))
    return Denoiser(UniformProcess(2, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)


def memory(denoiser: Denoiser) -> HebbMemory:
    assert isinstance(denoiser.backbone, HebbMemory)
    return denoiser.backbone


def test_parallel_dynamics_are_the_sign_of_the_field() -> None:
    """Fields of an odd number of patterns and an even number of spins are odd multiples of 1 / L, never 0."""
    denoiser, noisy = hebb(rows(5, 30, 0)), rows(20, 30, 1)
    spins = 2.0 * noisy.double() - 1
    for _ in range(3):
        spins = (spins @ memory(denoiser).couplings().T).sign()
    end = SpinDynamics(steps=3)(denoiser, noisy, 0.5, torch.arange(20))
    assert torch.equal(end, (spins > 0).long())


def test_sequential_dynamics_lower_the_energy_and_end_in_a_fixed_point() -> None:
    denoiser, x, keys = hebb(rows(12, 40, 0)), rows(50, 40, 1), torch.arange(50)
    energies, lost = [memory(denoiser).energy(x)], 0
    for sweep in range(12):
        x = SpinDynamics(steps=1, order="sequential")(denoiser, x, 0.5, 100 * keys + sweep)
        energies.append(memory(denoiser).energy(x))
        lost += int((energies[-1] > energies[-2] + 1e-9).sum())
    assert lost == 0
    assert (energies[-1] < energies[0]).all()
    assert torch.equal(SpinDynamics(steps=1)(denoiser, x, 0.5, keys), x), "sequential fixed points are parallel ones"


def test_two_coupled_spins_oscillate_in_parallel_and_align_in_sequence() -> None:
    denoiser, x = hebb(torch.tensor([[0, 0]])), torch.tensor([[0, 1]])
    ends = [SpinDynamics(steps, order="parallel")(denoiser, x, 0.5, torch.arange(1)).tolist() for steps in (1, 2)]
    assert ends == [[[1, 0]], [[0, 1]]]
    end = SpinDynamics(steps=1, order="sequential")(denoiser, x.expand(8, 2), 0.5, torch.arange(8))
    assert (end[:, 0] == end[:, 1]).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_sequential_dynamics_at_a_temperature_sample_the_boltzmann_distribution(temperature: float) -> None:
    """Gibbs sampling of 4 symmetric spins, against exp(-E / T) by enumeration."""
    denoiser, draws = hebb(torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0]]), beta=1.5), 4000
    states = torch.tensor(list(itertools.product((0, 1), repeat=4)))
    exact = torch.softmax(-memory(denoiser).energy(states) / temperature, 0)
    sampler = SpinDynamics(steps=20, temperature=temperature, order="sequential")
    end = sampler(denoiser, rows(draws, 4, 0), 0.5, torch.arange(draws))
    counts = torch.bincount((end * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    chi_squared = float(((counts - draws * exact) ** 2 / (draws * exact)).sum())
    assert chi_squared < 37.7  # 0.999 quantile for 15 degrees of freedom


def test_a_spin_without_a_field_stays_at_temperature_0() -> None:
    backbone = PseudoLikelihoodMemory(2, length=5)  # its couplings start at 0
    denoiser = Denoiser(UniformProcess(2, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)
    for order in ("parallel", "sequential"):
        x = rows(9, 5, 0)
        options: dict[str, Any] = {"order": order}
        assert torch.equal(SpinDynamics(steps=2, **options)(denoiser, x, 0.5, torch.arange(9)), x)


def test_masked_tokens_are_filled_and_the_others_stay() -> None:
    backbone = HebbMemory(3)
    backbone.prepare(TextStatistics(lambda: torch.tensor([[0, 1, 1, 0, 1]]), torch.ones(2), mask_id=2))
    denoiser = Denoiser(AbsorbingProcess(2, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)
    x = torch.tensor([[0, 2, 1, 2, 1], [2, 1, 1, 0, 2]])
    end = SpinDynamics(steps=2)(denoiser, x, 0.5, torch.arange(2))
    assert end.tolist() == [[0, 1, 1, 0, 1]] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, r"`temperature` must be in \[0, 1e6\), got -1\.0"),
        ({"order": "random"}, '`order` must be "parallel" or "sequential", got \'random\''),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
    ],
)
def test_invalid_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpinDynamics(**options)
