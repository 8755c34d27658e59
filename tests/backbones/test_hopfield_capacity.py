"""Capacity of the Hopfield network, by simulation: the load at which half of the patterns keep an overlap above 0.9.

Shapes: N spins, P patterns, K of them that are followed.
"""

import math
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.support.results import write_results
from uddm_lightning.backbones import HebbMemory, TextStatistics
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import SpinDynamics
from uddm_lightning.samplers.denoiser import Denoiser

KEPT = 0.9  # overlap above which a pattern is kept
BLOCK = 50  # spins that are updated at once
SWEEPS = 200
CRITICAL = 0.138  # load in the limit of many spins (Amit, Gutfreund and Sompolinsky 1985)
BAR = "pytest -m bar -n 0 -s tests/backbones/test_hopfield_capacity.py"


def random_spins(patterns: int, spins: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (patterns, spins), generator=generator, dtype=torch.float32).mul_(2).sub_(1)


def overlaps(patterns_PN: Tensor, followed: int) -> Tensor:
    """Return the overlaps (K,) of the first patterns with the ends of zero-temperature dynamics that start at them.

    Fields are computed from the P overlaps of the state, without the couplings, and blocks of spins follow each other.
    """
    P, N = patterns_PN.shape
    state_KN = patterns_PN[:followed].clone()
    overlap_KP = state_KN @ patterns_PN.T
    for _ in range(SWEEPS):
        changed = False
        for start in range(0, N, BLOCK):
            block = slice(start, start + BLOCK)
            field_KB = overlap_KP @ patterns_PN[:, block] - P * state_KN[:, block]
            after_KB = torch.where(field_KB == 0, state_KN[:, block], field_KB.sign())
            change_KB = after_KB - state_KN[:, block]
            if bool(change_KB.any()):
                overlap_KP += change_KB @ patterns_PN[:, block].T
                state_KN[:, block] = after_KB
                changed = True
        if not changed:
            break
    return (state_KN * patterns_PN[:followed]).mean(1)


def kept_share(spins: int, load: float, seed: int, followed: int = 100) -> float:
    patterns_PN = random_spins(round(load * spins), spins, seed)
    return float((overlaps(patterns_PN, min(followed, len(patterns_PN))) > KEPT).double().mean())


def crossing(loads: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Return the load at which the falling line through the shares crosses 1/2, by linear interpolation."""
    below = int((shares < 0.5).argmax())
    assert shares[below] < 0.5 <= shares[below - 1]
    part = (shares[below - 1] - 0.5) / (shares[below - 1] - shares[below])
    return float(loads[below - 1] + part * (loads[below] - loads[below - 1]))


def test_the_crossing_is_interpolated() -> None:
    assert crossing(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.75, 0.25])) == pytest.approx(0.25)


@pytest.mark.slow
def test_a_thousand_spins_keep_their_patterns_up_to_a_load_of_about_0_16() -> None:
    loads = np.array([0.14, 0.155, 0.17, 0.185])
    shares = np.array([np.mean([kept_share(1000, load, seed, 60) for seed in range(3)]) for load in loads])
    assert crossing(loads, shares) == pytest.approx(0.163, abs=0.008)
    assert kept_share(1000, 0.11, 0, 60) == 1.0


@pytest.mark.parametrize(("load", "keeps"), [(0.12, True), (0.22, False)])
def test_the_simulation_agrees_with_the_package(load: float, keeps: bool) -> None:
    spins, followed = 500, 20
    patterns_PN = random_spins(round(load * spins), spins, 0)
    rows_PN = (patterns_PN > 0).long()
    backbone = HebbMemory(2)
    backbone.prepare(TextStatistics(lambda: rows_PN, torch.ones(2)))
    denoiser = Denoiser(UniformProcess(2, LogLinearSchedule()), backbone, Parameterization.LEAVE_ONE_OUT)
    end_KN = SpinDynamics(steps=30)(denoiser, rows_PN[:followed], 0.1, torch.arange(followed))
    kept_K = ((2 * end_KN - 1) * patterns_PN[:followed]).mean(1) > KEPT
    assert torch.equal(kept_K, overlaps(patterns_PN, followed) > KEPT) or not keeps
    assert float(kept_K.double().mean()) == 1.0 if keeps else float(kept_K.double().mean()) < 0.3


@pytest.mark.bar
@pytest.mark.timeout(7200)
def test_the_capacity_falls_with_the_number_of_spins_towards_0_138() -> None:
    """Linear in N^(-1/2), the crossings lead to the load of the theory."""
    lines: list[dict[str, object]] = []
    found: dict[int, list[float]] = {}
    for spins, seeds, followed in ((1000, 16, 100), (2000, 8, 100), (4000, 4, 60), (8000, 2, 60)):
        loads = CRITICAL + 0.8 / spins**0.5 + np.arange(-0.014, 0.015, 0.007)  # the crossing must lie among them
        shares = np.array([[kept_share(spins, load, seed, followed) for load in loads] for seed in range(seeds)])
        found[spins] = [crossing(loads, one) for one in shares]
        sys.stdout.write(f"{spins} spins: {found[spins]}\n")
    sizes = np.array(list(found), dtype=np.float64)
    means = np.array([np.mean(one) for one in found.values()])
    counts = np.array([len(one) for one in found.values()])
    # one standard deviation for all sizes, of which the largest has few seeds
    squares = sum(float(np.sum((np.array(one) - np.mean(one)) ** 2)) for one in found.values())
    errors = math.sqrt(squares / (counts - 1).sum()) / np.sqrt(counts)
    design = np.stack([np.ones_like(sizes), sizes**-0.5], 1)
    covariance = np.linalg.inv(design.T @ (design / errors[:, None] ** 2))
    limit = float((covariance @ design.T @ (means / errors**2))[0])
    names = [*found, "limit"]
    values, sigmas = [*means, limit], [*errors, math.sqrt(covariance[0, 0])]
    for name, seeds, value, sigma in zip(names, [*counts.tolist(), ""], values, sigmas, strict=True):
        line = {"spins": name, "seeds": seeds, "load": round(float(value), 5), "standard_error": round(float(sigma), 5)}
        lines.append(line)
    sys.stdout.write(f"{lines}\n")
    write_results("hopfield.csv", BAR, lines, "the limit is linear in 1 / sqrt(N); the theory has 0.138")
    assert all(np.diff(means) < 0)
    for mean, expected in zip(means, (0.163, 0.156, 0.150, 0.148), strict=True):
        assert mean == pytest.approx(expected, abs=0.004)
    assert limit == pytest.approx(CRITICAL, abs=0.005)
