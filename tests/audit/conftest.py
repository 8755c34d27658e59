"""Two models without training: one that stores its rows, and one that knows the distribution of the text alone."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tests.audit.known import separable
from uddm_lightning.audit.calibration import Calibration, fit_calibration
from uddm_lightning.audit.sequences import Sequences
from uddm_lightning.backbones import EmpiricalBayesBackbone, MarkovBackbone, Oracle, TextStatistics
from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import NELBO
from uddm_lightning.processes import AbsorbingProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

V, L = 6, 12
CHAIN = MarkovChain.random(V, sharpness=1.5, seed=2)


class Model(NamedTuple):
    task: Any
    denoiser: Denoiser


def model_of(oracle: Oracle, process: Process) -> Model:
    task = SimpleNamespace(
        process=process,
        sampler=AncestralSampler(steps=20),
        objective=NELBO(t_min=0.02),
        device=torch.device("cpu"),
        trainer=None,
    )
    return Model(task, Denoiser(process, oracle, Parameterization.LEAVE_ONE_OUT))


def noise(mask: bool = False) -> Process:
    return (AbsorbingProcess if mask else UniformProcess)(V, LogLinearSchedule())


def memory_of(rows_NL: Tensor, mask: bool = False) -> Model:
    process = noise(mask)
    oracle = EmpiricalBayesBackbone(process.num_states)
    oracle.prepare(TextStatistics(lambda: rows_NL, torch.full((V,), 1 / V), mask_id=process.mask_id))
    return model_of(oracle, process)


def generalizer() -> Model:
    process = noise()
    oracle = MarkovBackbone(V)
    oracle.prepare(TextStatistics(lambda: torch.zeros(1, L).long(), torch.full((V,), 1 / V), CHAIN))
    return model_of(oracle, process)


def drawn(first: int, number: int, name: str = "text", chain: MarkovChain = CHAIN) -> Sequences:
    """Draw rows of the chain; each is a document."""
    numbers = torch.arange(first, first + number)
    tokens_NL = chain.sample(numbers, L)
    all_NL = torch.ones_like(tokens_NL).bool()
    return Sequences(name, "chain", tokens_NL, all_NL, all_NL, numbers, numbers)


@pytest.fixture(scope="session")
def members() -> Sequences:
    return drawn(0, 150, "members")


@pytest.fixture(scope="session")
def nonmembers(members: Sequences) -> Sequences:
    """Rows of the same chain, none of which is a member."""
    known, rows = set(map(tuple, members.tokens_NL.tolist())), drawn(1000, 200, "nonmembers")
    new_N = torch.tensor([tuple(row) not in known for row in rows.tokens_NL.tolist()])
    return rows.select(new_N.nonzero()[:150, 0])


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return fit_calibration(separable())
