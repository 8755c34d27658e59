"""Oracles, each with its text distribution as an explicit table."""

import math
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.support.toy_worlds import Joint
from uddm_lightning.backbones import EmpiricalBayesBackbone, MarkovBackbone, Oracle, TextStatistics, UnigramBackbone
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import key
from uddm_lightning.core.markov_chain import MarkovChain
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import NELBO
from uddm_lightning.probes import EntropyProbe, NelboProbe, RecoveryProbe
from uddm_lightning.probes.measured_batch import MeasuredBatch
from uddm_lightning.processes import AbsorbingProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler, Sampler
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.batch_notes import BatchNotes


class World(NamedTuple):
    """A distribution of text, as an oracle and as a list of all rows with their probabilities."""

    oracle: Oracle
    joint: Joint
    process: Process

    def predict_rows(self, shown_YL: Tensor, alpha: float) -> Tensor:
        """Return leave-one-out log-probabilities of the oracle for given noisy rows, [x_t row, l, v]."""
        sigma_Y = torch.full((len(shown_YL),), -math.log(alpha), dtype=torch.float64)
        logits_NS = self.oracle(shown_YL, sigma_Y).flatten(0, 1)
        assert logits_NS.shape[1] == self.process.num_states
        alpha_N = torch.full_like(logits_NS[:, 0], alpha)
        logp_NV = self.process.leave_one_out(logits_NS, shown_YL.flatten(), alpha_N, Parameterization.LEAVE_ONE_OUT)
        return logp_NV.view(*shown_YL.shape, -1)

    def predict(self, alpha: float) -> Tensor:
        """Return leave-one-out log-probabilities of the oracle for all noisy rows."""
        return self.predict_rows(self.joint.noisy_YL, alpha)

    @property
    def denoiser(self) -> Denoiser:
        return Denoiser(self.process, self.oracle, Parameterization.LEAVE_ONE_OUT)

    def draw(self, rows: int) -> Tensor:
        """Draw rows of the text, int64 (rows, L)."""
        generator = torch.Generator().manual_seed(11)
        return self.joint.rows_XL[torch.multinomial(self.joint.p_X, rows, replacement=True, generator=generator)]


def posterior_of(kind: type[Oracle]) -> type[Oracle]:
    """Return a wrong oracle class, which multiplies by the likelihood of the token itself."""

    class ByPosterior(kind):  # type: ignore[misc, valid-type]  # the base class is a variable
        @override
        def predict(self, tokens_BL: Tensor, alpha_B: Tensor, noise_B: Tensor, valid_BL: Tensor | None) -> Tensor:
            logp_BLV = super().predict(tokens_BL, alpha_B, noise_B, valid_BL)
            log_ratio_B = torch.log((self.vocab_size * alpha_B + noise_B) / noise_B)
            own_BL1 = log_ratio_B[:, None, None].expand(*tokens_BL.shape, 1)
            return logp_BLV.scatter_add(2, tokens_BL[..., None], own_BL1)

    return ByPosterior


def noise_of(V: int, mask: bool) -> Process:
    return (AbsorbingProcess if mask else UniformProcess)(V, LogLinearSchedule())


def markov(V: int, L: int, wrong: bool = False, mask: bool = False) -> World:
    chain = MarkovChain.random(V, sharpness=1.5, seed=2)
    joint = Joint(V, L, seed=0, mask=mask)
    steps_XL = chain.transition_VV[joint.rows_XL[:, :-1], joint.rows_XL[:, 1:]]
    joint.p_X = chain.initial_V[joint.rows_XL[:, 0]] * steps_XL.prod(1)
    process = noise_of(V, mask)
    oracle = (posterior_of(MarkovBackbone) if wrong else MarkovBackbone)(process.num_states)
    oracle.prepare(TextStatistics(lambda: joint.rows_XL, torch.full((V,), 1 / V), chain, process.mask_id))
    return World(oracle, joint, process)


def memory(V: int, L: int, n: int = 5, wrong: bool = False, mask: bool = False) -> World:
    joint = Joint(V, L, seed=0, mask=mask)
    places = torch.randperm(len(joint.rows_XL), generator=torch.Generator().manual_seed(3))[:n]
    joint.p_X = torch.zeros_like(joint.p_X).index_fill(0, places, 1 / n)
    process = noise_of(V, mask)
    oracle = (posterior_of(EmpiricalBayesBackbone) if wrong else EmpiricalBayesBackbone)(process.num_states)
    oracle.prepare(TextStatistics(lambda: joint.rows_XL[places], torch.full((V,), 1 / V), mask_id=process.mask_id))
    return World(oracle, joint, process)


def unigram(V: int, L: int, wrong: bool = False, mask: bool = False) -> World:
    f_V = torch.softmax(torch.arange(V, dtype=torch.float64), 0)
    joint = Joint(V, L, seed=0, mask=mask)
    joint.p_X = f_V[joint.rows_XL].prod(1)
    process = noise_of(V, mask)
    oracle = (posterior_of(UnigramBackbone) if wrong else UnigramBackbone)(process.num_states)
    oracle.prepare(TextStatistics(lambda: joint.rows_XL, f_V, mask_id=process.mask_id))
    return World(oracle, joint, process)


WORLDS = {"markov": markov, "empirical Bayes": memory, "unigram": unigram}
every_world = pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)
every_noise = pytest.mark.parametrize("mask", [False, True], ids=["uniform", "absorbing"])


class Measured(NamedTuple):
    """Records of the probes for an oracle."""

    recovery: dict[str, float]
    entropy: dict[str, float]
    nelbo: dict[str, float]


def measured(world: World, rows: int, t: float, steps: int, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Run three probes on rows of the text without a trainer."""
    f_V = torch.stack([(world.joint.p_X[:, None] * (world.joint.rows_XL == v)).sum() for v in range(world.joint.V)])
    data = SimpleNamespace(unigram_entropy=1.0, vocab_size=world.joint.V)
    monkeypatch.setattr("uddm_lightning.probes.nelbo.data_of", lambda trainer: data)
    numbers = torch.arange(rows)
    task = SimpleNamespace(
        process=world.process,
        sampler=AncestralSampler(steps=steps),
        objective=NELBO(t_min=1e-3),
        device=torch.device("cpu"),
        trainer=None,
        parameter_count=0,
    )
    text_BL = world.draw(rows)
    batch = TokenBatch(
        tokens_BL=text_BL,
        rows_B=numbers,
        places_B=numbers,
        keys_B=key(7, numbers),
        quantiles_B=numbers / rows,
        valid_BL=None,
        special_BL=None,
        seed=0,
        step=0,
    )
    counted_BL = torch.ones_like(text_BL).bool()
    at = MeasuredBatch(cast(Any, task), world.denoiser, batch, counted_BL, "test", "ema", BatchNotes())
    recovery = RecoveryProbe(times=[t])
    recovery.unigram_V = f_V / world.joint.L
    found = []
    for probe in (recovery, EntropyProbe(times=[t]), NelboProbe()):
        probe.measure(at)
        found.append(next(iter(probe.compute_records(cast(Any, task)))))
    return Measured(*(cast(dict[str, float], record) for record in found))


def task_of(world: World, sampler: Sampler) -> Any:
    return SimpleNamespace(
        process=world.process, sampler=sampler, objective=NELBO(t_min=1e-3), device=torch.device("cpu"), trainer=None
    )


def batch_of(tokens_BL: Tensor) -> TokenBatch:
    numbers = torch.arange(len(tokens_BL))
    return TokenBatch(tokens_BL, numbers, numbers, key(7, numbers), numbers.double(), None, None, 0, 0)
