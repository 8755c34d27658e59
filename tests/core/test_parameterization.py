"""Parameterizations, compared with enumeration of all rows of a random joint distribution at V = 3, L = 3."""

import numpy as np
import pytest
import torch

from tests.support.toy_worlds import (
    Joint,
    JointOracle,
    UnigramOracle,
    assert_frequencies,
    chain_kernel,
    expected_nelbo,
    integrated_nelbo,
    prior_gap,
    uniform_kernel,
)
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.keyed_random import Stream, integers, key
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser

V, L = 3, 3
TIMES = [1e-3, 0.1, 0.5, 0.9, 1.0]


@pytest.fixture(scope="module")
def joint() -> Joint:
    return Joint(V, L, seed=4)


@pytest.fixture(scope="module")
def process() -> UniformProcess:
    return UniformProcess(V, LogLinearSchedule())


def test_toy_distribution(joint: Joint) -> None:
    """Its factors are matrix exponentials, and its positions are far from independent."""
    factors = joint.factors(0.3)
    kernel = uniform_kernel(float(-np.log(0.3)), V)
    torch.testing.assert_close(factors[5, 7], kernel[joint.rows_XL[5], joint.rows_XL[7]])
    gap = (joint.leave_one_out(0.9) - joint.posterior(0.9)).abs().max()
    assert gap > 0.3


@pytest.mark.parametrize("t", TIMES)
def test_conversion_of_the_enumerated_posterior_is_the_enumerated_leave_one_out(
    joint: Joint, process: UniformProcess, t: float
) -> None:
    alpha = process.level(torch.tensor(t, dtype=torch.float64)).alpha
    X = len(joint.rows_XL)
    converted = process.leave_one_out(
        joint.posterior(float(alpha)).log().reshape(-1, V),
        joint.rows_XL.flatten(),
        alpha.expand(X * L),
        Parameterization.POSTERIOR,
    ).exp()
    torch.testing.assert_close(converted.view(X, L, V), joint.leave_one_out(float(alpha)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t", TIMES)
def test_posterior_logits_of_the_enumerated_leave_one_out_are_the_enumerated_posterior(
    joint: Joint, process: UniformProcess, t: float
) -> None:
    alpha = process.level(torch.tensor(t, dtype=torch.float64)).alpha
    X = len(joint.rows_XL)
    logits = joint.leave_one_out(float(alpha)).log().reshape(-1, V)
    before = logits.clone()
    converted = process.posterior_logits(logits, joint.rows_XL.flatten(), alpha.expand(X * L)).softmax(1)
    assert torch.equal(logits, before)
    torch.testing.assert_close(converted.view(X, L, V), joint.posterior(float(alpha)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t", TIMES)
def test_leave_one_out_does_not_depend_on_its_own_token(joint: Joint, t: float) -> None:
    table = joint.leave_one_out(1 - 0.999 * t).view(V, V, V, L, V)
    for place in range(L):
        own = table[:, :, :, place].movedim(place, 0)
        torch.testing.assert_close(own, own[:1].expand_as(own))


@pytest.mark.parametrize("t", TIMES)
def test_nelbo_is_minimal_at_the_leave_one_out_prediction(
    joint: Joint, process: UniformProcess, t: float, rng: torch.Generator
) -> None:
    alpha = float(process.level(torch.tensor(t, dtype=torch.float64)).alpha)
    best = joint.leave_one_out(alpha).log()
    least = expected_nelbo(process, joint, best, t)
    for size in (0.3, 0.03):
        for _ in range(8):
            noise = size * torch.randn(best.shape, generator=rng, dtype=torch.float64)
            assert expected_nelbo(process, joint, torch.log_softmax(best + noise, -1), t) > least
    assert expected_nelbo(process, joint, joint.posterior(alpha).log(), t) > least

    logits = best.clone().requires_grad_()
    X = len(joint.rows_XL)
    level = process.level(torch.tensor(t, dtype=torch.float64))
    shape = (X, X, L)
    loss = process.nelbo(
        torch.log_softmax(logits, -1).expand(X, X, L, V).reshape(-1, V),
        NoisyTokens(
            joint.rows_XL[:, None].expand(shape).flatten(),
            joint.rows_XL[None].expand(shape).flatten(),
            level.alpha.expand(X * X * L),
            level.slope.expand(X * X * L),
        ),
    )
    (joint.noisy(alpha)[..., None] * loss.view(shape)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-10, "the leave-one-out prediction is not a stationary point"


def integrated(process: UniformProcess, joint: Joint, posterior: bool) -> float:
    predict = joint.posterior if posterior else joint.leave_one_out
    return integrated_nelbo(process, joint, lambda alpha: predict(alpha).log())


def test_integrated_nelbo_is_the_exact_nll_for_leave_one_out_only(joint: Joint, process: UniformProcess) -> None:
    prior = prior_gap(process, joint)
    exact = joint.entropy
    assert integrated(process, joint, posterior=False) + prior == pytest.approx(exact, abs=1e-4)
    assert integrated(process, joint, posterior=True) + prior > exact + 0.1


@pytest.mark.slow
def test_chain_with_the_exact_oracle_samples_the_data(process: UniformProcess) -> None:
    rows, joint = 8000, Joint(V, L, seed=4, sharpness=0.8)  # less sharp, so that every row occurs often enough
    sampler = AncestralSampler(steps=250)
    keys = key(1, torch.arange(rows))
    start = integers(V, key(keys[:, None], Stream.CORRUPTION, torch.arange(L)), 1)
    denoiser = Denoiser(process, JointOracle(joint), Parameterization.LEAVE_ONE_OUT)
    samples = sampler(denoiser, start, 1.0, keys)
    assert_frequencies(torch.bincount(joint.code(samples), minlength=V**L), joint.p_X)
    # the Denoiser converts POSTERIOR predictions: the same draws up to rounding
    converted = Denoiser(process, JointOracle(joint, posterior=True), Parameterization.POSTERIOR)
    agree = (sampler(converted, start[:1000], 1.0, keys[:1000]) == samples[:1000]).all(1)
    assert agree.double().mean() > 0.999
    # without the conversion the chain does not sample the data
    raw = Denoiser(process, JointOracle(joint, posterior=True), Parameterization.LEAVE_ONE_OUT)
    with pytest.raises(AssertionError, match="chi-square"):
        assert_frequencies(torch.bincount(joint.code(sampler(raw, start, 1.0, keys)), minlength=V**L), joint.p_X)


def test_chain_converges_to_the_data_as_steps_grow(joint: Joint, process: UniformProcess) -> None:
    """Compute the exact distribution of the chain from its 27 x 27 transition matrices."""

    def distance(steps: int) -> float:
        times = AncestralSampler(steps=steps).grid(1.0)
        kernel_XX = chain_kernel(process, joint, lambda alpha: joint.leave_one_out(alpha).log(), times)
        at_X = kernel_XX.mean(0)  # from pure noise
        return float(0.5 * (at_X - joint.p_X).abs().sum())

    far, middle, near = distance(10), distance(40), distance(160)
    assert middle < far / 2.5
    assert near < middle / 2.5
    assert near < 0.01


@pytest.mark.parametrize("start", [0.25, 0.5, 1.0])
def test_recovery_of_the_unigram_model_is_the_chance_level(start: float) -> None:
    """For independent tokens the chain is exact at any number of steps, so 4 steps suffice."""
    vocab, rows, length = 6, 2000, 20
    unigram = torch.softmax(torch.arange(vocab, dtype=torch.float64) / 2, 0)
    process = UniformProcess(vocab, LogLinearSchedule())
    sampler = AncestralSampler(steps=4)
    t = sampler.grid(start)[0]
    keys = key(5, torch.arange(rows))
    text = torch.multinomial(unigram, rows * length, replacement=True, generator=torch.Generator().manual_seed(1)).view(
        rows, length
    )
    noised = process.corrupt(text, torch.full((rows,), t, dtype=torch.float64), keys)
    denoiser = Denoiser(process, UnigramOracle(unigram), Parameterization.LEAVE_ONE_OUT)
    restored = sampler(denoiser, noised.xt_BL, t, keys)
    corrupted = noised.xt_BL != text
    alpha = noised.alpha_B.repeat_interleave(length).view(rows, length)
    chance = process.chance(text[corrupted], noised.xt_BL[corrupted], alpha[corrupted], unigram)
    hits = (restored == text)[corrupted].double()
    spread = float((chance * (1 - chance)).sum().sqrt()) / len(hits)
    assert abs(float(hits.mean() - chance.mean())) < 4 * spread
