"""Absorbing process, compared with matrix exponentials, Bayes by enumeration and the discrete-time bound."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from typing_extensions import override

from tests.support.toy_worlds import (
    PAIRS,
    SIZES,
    Joint,
    TableBackbone,
    absorbing_kernel,
    assert_frequencies,
    full,
    integrated_nelbo,
    random_logp,
)
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.keyed_random import key
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.metrics import functional as F
from uddm_lightning.objectives import NELBO, DenoisingCrossEntropy, LeaveOneOutCrossEntropy
from uddm_lightning.processes import AbsorbingProcess, UniformProcess
from uddm_lightning.processes import absorbing as module
from uddm_lightning.processes.schedules import CosineSchedule, LogLinearSchedule, Schedule
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.samplers.denoiser import Denoiser


def make_process(V: int, schedule: Schedule | None = None) -> AbsorbingProcess:
    return AbsorbingProcess(V, schedule or LogLinearSchedule())


def bayes(p_V: Tensor, xt: int, alpha_s: float, alpha_t: float) -> Tensor:
    """Return p(x_s | x_t) of V + 1 states for x_0 ~ p, summed over the forward chain x_0 -> x_s -> x_t."""
    V = len(p_V)
    first = absorbing_kernel(-math.log(alpha_s), V)[:V]
    second = absorbing_kernel(math.log(alpha_s) - math.log(alpha_t), V)
    joint = p_V[:, None, None] * first[:, :, None] * second[None]
    seen = joint[:, :, xt].sum(0)
    return seen / seen.sum()


# ---------------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
@pytest.mark.parametrize("t", [0.05, 0.5, 1.0])
def test_corrupt_draws_the_matrix_exponential_of_the_generator(schedule: Schedule, t: float) -> None:
    V, rows, L = 5, 4000, 20
    x0 = torch.arange(V).repeat(rows * L // V).view(rows, L)
    noised = make_process(V, schedule).corrupt(x0, full(t, rows), torch.arange(rows))
    kernel = absorbing_kernel(float(schedule(torch.tensor(t, dtype=torch.float64)).sigma), V)
    for start in range(V):
        counts = torch.bincount(noised.xt_BL[x0 == start], minlength=V + 1)
        if 1 - float(kernel[start, V]) < 0.01:  # rare: too few for a chi-square
            assert abs(int(counts[start]) - 16_000 * float(kernel[start, start])) < 20
            assert int(counts.sum() - counts[start] - counts[V]) == 0
        else:
            assert_frequencies(counts, kernel[start])


def test_positions_and_rows_are_masked_independently() -> None:
    rows = 20_000
    x0 = torch.zeros(rows, 3, dtype=torch.int64)
    masked = (make_process(3).corrupt(x0, full(0.6, rows), torch.arange(rows)).xt_BL == 3).long()
    one = torch.tensor([1 - 0.999 * 0.6, 0.999 * 0.6], dtype=torch.float64)
    joint = (one[:, None, None] * one[:, None] * one).flatten()
    assert_frequencies(torch.bincount((masked * torch.tensor([4, 2, 1])).sum(1), minlength=8), joint)
    assert_frequencies(
        torch.bincount(masked[::2, 0] * 2 + masked[1::2, 0], minlength=4), (one[:, None] * one).flatten()
    )


def test_masks_are_nested_in_time_and_cover_the_tokens_that_uniform_noise_changes() -> None:
    V, keys = 9, torch.arange(100)
    x0 = torch.arange(6400).view(100, 64) % V
    ours, theirs = make_process(V), UniformProcess(V, LogLinearSchedule())
    before = torch.zeros_like(x0, dtype=torch.bool)
    for t in (0.0, 0.01, 0.1, 0.3, 0.8, 1.0):
        xt = ours.corrupt(x0, full(t, 100), keys).xt_BL
        masked = xt == V
        assert torch.equal(xt[~masked], x0[~masked])
        assert (masked | ~before).all()
        changed = theirs.corrupt(x0, full(t, 100), keys).xt_BL != x0
        assert (masked | ~changed).all()
        before = masked


# ---------------------------------------------------------------------------------------------------------- reverse


@pytest.mark.parametrize(("alpha_s", "alpha_t"), PAIRS)
@pytest.mark.parametrize("V", SIZES)
def test_argmax_of_the_posterior_is_that_of_bayes(V: int, alpha_s: float, alpha_t: float, rng: torch.Generator) -> None:
    logp, process = random_logp(rng, 40, V, scale=4.0), make_process(V)
    for xt in (V, 0, V - 1):
        arguments = (logp, full(xt, 40).long(), full(alpha_s, 40), full(alpha_t, 40))
        exact = torch.stack([bayes(p, xt, alpha_s, alpha_t) for p in logp.exp()])
        assert process.argmax_step(*arguments).tolist() == exact.argmax(1).tolist()


@pytest.mark.parametrize(("alpha_s", "alpha_t"), PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_draws_the_posterior(alpha_s: float, alpha_t: float, dtype: torch.dtype, rng: torch.Generator) -> None:
    V, n = 5, 60_000
    logp = random_logp(rng, 1, V, scale=1.0)
    for xt in (V, 1):
        drawn = make_process(V).step(
            logp.to(dtype).expand(n, V), full(xt, n).long(), full(alpha_s, n), full(alpha_t, n), torch.arange(n)
        )
        assert drawn.dtype == torch.int64
        assert_frequencies(torch.bincount(drawn, minlength=V + 1), bayes(logp.exp()[0], xt, alpha_s, alpha_t))


def test_last_step_unmasks_every_token_with_possible_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test the largest uniform number below 1, and the boundaries of intervals of probability 0."""
    p = torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0]], dtype=torch.float64)
    for alpha_t in (0.001, 0.3, 1 - 1e-5, 1 - 1e-12):
        for number, expected in ((0.0, 2), (0.5, 3), (1 - 2**-53, 3)):
            numbers = {0: full(1 - 2**-53, 1), 1: full(number, 1)}
            monkeypatch.setattr(module, "uniform", lambda _, use, numbers=numbers: numbers[use])
            drawn = make_process(5).step(
                p.log(), torch.tensor([5]), full(1.0, 1), full(alpha_t, 1), torch.zeros(1).long()
            )
            assert drawn.item() == expected


def test_may_change_mask_marks_exactly_the_tokens_that_the_step_unmasks(rng: torch.Generator) -> None:
    V, n = 7, 300
    process, alpha_t, keys = make_process(V), full(0.4, n), torch.arange(n)
    xt, alpha_s = torch.randint(V + 1, (n,), generator=rng), full(0.7, n)
    drawn = process.step(random_logp(rng, n, V), xt, alpha_s, alpha_t, keys)
    assert (drawn != xt).any()
    assert torch.equal(process.may_change_mask(xt, alpha_s, alpha_t, keys), drawn != xt)


class CountingBackbone(TableBackbone):
    """A backbone that counts the tokens whose logits are computed."""

    tokens = 0

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        self.tokens += len(hidden_ND)
        return super().head(hidden_ND)


def test_chain_evaluates_every_masked_token_once() -> None:
    V, rows, L, t = 6, 50, 9, 0.7
    process, backbone = make_process(V), CountingBackbone(V + 1, L, scale=2.0)
    x0, keys = torch.arange(rows * L).view(rows, L) % V, key(1, torch.arange(rows))
    xt = process.corrupt(x0, full(t, rows), keys).xt_BL
    masked = xt == V
    for sampler in (AncestralSampler(steps=20), AncestralSampler(steps=20, noise_removal="argmax")):
        backbone.tokens = 0
        end = sampler(Denoiser(process, backbone, Parameterization.LEAVE_ONE_OUT), xt, t, keys)
        assert torch.equal(end[~masked], x0[~masked]), "a clean token was changed"
        assert end.max() < V
        assert backbone.tokens == int(masked.sum())
    end = AncestralSampler(steps=20, decoding="argmax")(
        Denoiser(process, backbone, Parameterization.POSTERIOR), xt, t, keys
    )
    assert torch.equal(end[~masked], x0[~masked])
    assert end.max() < V


# ------------------------------------------------------------------------------------------------- parameterization


def test_logit_of_the_mask_has_no_effect(rng: torch.Generator) -> None:
    V, n = 5, 30
    process, level = make_process(V), LogLinearSchedule()(full(0.4, n))
    logits = torch.randn(n, V + 1, generator=rng, dtype=torch.float64)
    other = logits.clone()
    other[:, V] += 7.0
    x0, xt = torch.arange(n) % V, full(V, n).long()
    for parameterization in Parameterization:
        one, two = (process.leave_one_out(values, xt, level.alpha, parameterization) for values in (logits, other))
        assert torch.equal(one, two)
        torch.testing.assert_close(one, torch.log_softmax(logits[:, :V], 1))
        losses = [
            process.nelbo_from_logits(v, NoisyTokens(x0, xt, level.alpha, level.slope), parameterization)
            for v in (logits, other)
        ]
        assert torch.equal(*losses)
    assert F.entropy(process.leave_one_out_logits(logits, xt, level.alpha, parameterization)).max() <= math.log(V)


@pytest.mark.parametrize("t", [0.2, 0.7])
def test_objectives_are_minimal_at_the_exact_prediction_of_masked_positions(t: float) -> None:
    """At masked positions posterior and leave-one-out are equal, and all losses have their minimum there."""
    joint, process = Joint(3, 3, seed=6, mask=True), make_process(3)
    level = process.level(torch.tensor(t, dtype=torch.float64))
    masked = joint.noisy_YL == 3
    exact = joint.leave_one_out(float(level.alpha))
    torch.testing.assert_close(joint.posterior(float(level.alpha))[masked], exact[masked])
    shape = _, Y, L = (len(joint.rows_XL), len(joint.noisy_YL), 3)
    weight = joint.noisy(float(level.alpha))[..., None] * masked
    for objective in (NELBO(), DenoisingCrossEntropy(), LeaveOneOutCrossEntropy()):
        logits = torch.cat([exact.log(), torch.full((Y, L, 1), -80.0)], -1).requires_grad_()
        loss = objective.token_loss(process, logits.expand(*shape, 4).reshape(-1, 4), joint.pairs(level))
        (gradient,) = torch.autograd.grad((weight * loss.view(shape)).sum(), logits)
        assert gradient.abs().max() < 1e-10


@pytest.mark.parametrize("alpha", [0.9, 0.1])
def test_posterior_logits_are_the_enumerated_posterior(alpha: float) -> None:
    """The posterior is the leave-one-out prediction at masks, and the visible token elsewhere."""
    joint, process = Joint(3, 3, seed=6, mask=True), make_process(3)
    Y, L = shape = joint.noisy_YL.shape
    possible_Y = joint.noisy(alpha).sum(0) > 0
    logits = torch.cat([joint.leave_one_out(alpha).log(), torch.full((Y, L, 1), 5.0)], -1)
    found = process.posterior_logits(logits.reshape(Y * L, 4), joint.noisy_YL.flatten(), full(alpha, Y * L))
    assert found.dtype == torch.float64
    found = found.softmax(1).view(*shape, 3)
    torch.testing.assert_close(found[possible_Y], joint.posterior(alpha)[possible_Y], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------- likelihood


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_nelbo_is_the_limit_of_discrete_time(schedule: Schedule, t: float, rng: torch.Generator) -> None:
    """KL( q(x_s | x_t, x_0) || q(x_s | x_t, p) ) / (t - s) for s -> t, both by Bayes along the chain."""
    V = 4
    p = random_logp(rng, 1, V)[0].exp()
    for x0, xt in ((0, V), (2, V), (1, 1)):
        truth = torch.eye(V, dtype=torch.float64)[x0]

        def rate(width: float, truth: Tensor = truth, xt: int = xt) -> float:
            late, early = (float(schedule(torch.tensor(v, dtype=torch.float64)).alpha) for v in (t, t - width))
            q, guess = bayes(truth, xt, early, late), bayes(p, xt, early, late)
            return float(torch.special.xlogy(q, q / guess.where(q > 0, 1.0)).sum()) / width

        level = schedule(torch.tensor([t], dtype=torch.float64))
        exact = make_process(V, schedule).nelbo(
            p.log()[None], NoisyTokens(torch.tensor([x0]), torch.tensor([xt]), *level)
        )
        assert 2 * rate(1e-4) - rate(2e-4) == pytest.approx(float(exact), rel=1e-4)


def test_discrete_time_bound_converges_to_the_continuous_one() -> None:
    """The discrete-time bound, summed over steps, decreases towards the continuous-time bound."""
    joint, process = Joint(3, 2, seed=3, mask=True), make_process(3)
    predict = lambda alpha: joint.leave_one_out(alpha).log()  # noqa: E731 an argument that is used twice
    whole = integrated_nelbo(process, joint, predict)
    sums = []
    for steps in (8, 32, 128):
        times = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
        total = 0.0
        for alpha_t, alpha_s in pairwise(process.level(times).alpha):
            p_YLV, weight_XY = predict(float(alpha_t)).exp(), joint.noisy(float(alpha_t))
            share = float(
                (alpha_s - alpha_t) / (1 - alpha_t)
            )  # probability of unmasking; the other terms of the KL are 0
            for place in range(joint.L):
                right_XY = p_YLV[:, place, joint.rows_XL[:, place]].T
                hidden_Y = joint.noisy_YL[:, place] == 3
                total -= share * float((weight_XY * right_XY.log())[:, hidden_Y].sum())
        sums.append(total)
    assert sums[0] > sums[1] > sums[2] > whole
    assert sums[2] - whole < 0.3 * (sums[1] - whole)
    assert sums[2] == pytest.approx(whole, rel=5e-3)


@pytest.mark.parametrize("schedule", [LogLinearSchedule(1e-9), CosineSchedule(1e-9)])
def test_bound_is_the_likelihood_if_alpha_1_is_zero(schedule: Schedule) -> None:
    """It is the same for every schedule, up to the error of the quadrature near t = 1."""
    joint = Joint(3, 3, seed=5, mask=True)
    bound = integrated_nelbo(make_process(3, schedule), joint, lambda alpha: joint.leave_one_out(alpha).log())
    assert bound == pytest.approx(joint.entropy, abs=1e-6)


def test_nelbo_is_zero_at_clean_tokens_and_at_the_true_prediction(rng: torch.Generator) -> None:
    V, n = 5, 500
    x0 = torch.randint(V, (n,), generator=rng)
    xt = torch.where(torch.rand(n, generator=rng) < 0.5, V, x0)
    alpha = torch.rand(n, generator=rng, dtype=torch.float64) * 0.998 + 0.001
    process = make_process(V)
    truth = torch.eye(V, dtype=torch.float64)[x0].log()
    assert (process.nelbo(truth, NoisyTokens(x0, xt, alpha, full(-1, n))) == 0).all()
    wrong = process.nelbo(random_logp(rng, n, V), NoisyTokens(x0, xt, alpha, full(-1, n)))
    assert torch.equal(wrong > 0, xt == V)
    # the prediction at clean tokens has no effect
    nothing = full(-torch.inf, n * V).view(n, V)
    assert (process.nelbo(nothing, NoisyTokens(x0, x0, full(1.0, n), full(-1, n))) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [1e-5, 1e-3, 1.0])
def test_loss_and_gradient_are_finite_at_both_ends_in_either_precision(dtype: torch.dtype, t: float) -> None:
    V, n = 11, 22
    logits = (10 * torch.randn(n, V + 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).to(dtype)
    logits.requires_grad_()
    x0 = torch.arange(n) % V
    xt = torch.where(torch.arange(n) < V, x0, V)
    process, level = make_process(V), LogLinearSchedule()(full(t, n))
    loss = process.nelbo_from_logits(
        logits, NoisyTokens(x0, xt, level.alpha, level.slope), Parameterization.LEAVE_ONE_OUT
    )
    exact = -torch.log_softmax(logits.double()[:, :V], 1)[range(n), x0]
    torch.testing.assert_close(t * loss.double()[V:], exact[V:], rtol=1e-6, atol=3e-6)  # -slope / (1 - alpha) = 1 / t
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[:V] == 0).all()
    assert (logits.grad[:, V] == 0).all()


@pytest.mark.parametrize("alpha", [0.95, 0.001])
def test_chance_is_bayes_under_the_unigram_model(alpha: float) -> None:
    V = 6
    f = torch.softmax(torch.arange(V, dtype=torch.float64) / 2, 0)
    joint = f[:, None] * absorbing_kernel(-math.log(alpha), V)[:V]
    expected = joint / joint.sum(0)
    x0, xt = torch.arange(V).repeat_interleave(V + 1), torch.arange(V + 1).repeat(V)
    ours = make_process(V).chance(x0, xt, full(alpha, len(x0)), f)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, expected.flatten(), rtol=1e-12, atol=1e-14)
