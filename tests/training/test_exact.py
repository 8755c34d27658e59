"""Predictions of the exact model of the text."""

from typing import Any

import pytest
import torch

from uddm_lightning.backbones import MarkovBackbone
from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.processes import AbsorbingProcess, HybridProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.training import exact
from uddm_lightning.training.exact import exact_denoiser

CHAIN = MarkovChain.random(3, sharpness=1.5, seed=2)


class Given:
    """A task with a process and a text."""

    trainer = None
    device = torch.device("cpu")

    def __init__(self, process: type[Process], chain: MarkovChain | None) -> None:
        self.process, self.markov_chain = process(3, LogLinearSchedule()), chain
        self.unigram = torch.full((3,), 1 / 3)

    def training_rows(self) -> torch.Tensor:
        return torch.zeros(1, 4).long()


@pytest.mark.parametrize(
    ("process", "chain", "known"),
    [
        (UniformProcess, CHAIN, True),
        (AbsorbingProcess, CHAIN, True),
        (HybridProcess, CHAIN, False),
        (UniformProcess, None, False),
    ],
)
def test_the_exact_model_needs_a_known_chain_and_pure_noise(
    monkeypatch: pytest.MonkeyPatch, process: type[Process], chain: MarkovChain | None, known: bool
) -> None:
    given: Any = Given(process, chain)
    monkeypatch.setattr(exact, "data_of", lambda trainer: given)
    denoiser = exact_denoiser(given)
    assert (denoiser is not None) == known
    if denoiser is not None:
        assert isinstance(denoiser.backbone, MarkovBackbone)
        assert denoiser.process is given.process
