"""The process and the noised batch that the tests of objectives share."""

import pytest
import torch

from uddm_lightning.core.batch import Noised
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule


@pytest.fixture
def process() -> UniformProcess:
    """Five ids."""
    return UniformProcess(5, LogLinearSchedule())


@pytest.fixture
def noised(process: UniformProcess, rng: torch.Generator) -> Noised:
    """Six rows of seven tokens at six noise levels."""
    x0_BL = torch.randint(5, (6, 7), generator=rng)
    return process.corrupt(x0_BL, torch.linspace(0.01, 1.0, 6, dtype=torch.float64), torch.arange(6))
