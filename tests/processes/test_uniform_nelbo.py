"""The NELBO of the uniform process, compared with sums, the limit of discrete time and reference numbers."""

import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import (
    SIZES,
    full,
    random_logp,
    reference,
    reverse_posterior,
    uniform_posterior,
    uniform_process,
)
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes.schedules import CosineSchedule, LogLinearSchedule, Schedule


def naive_nelbo(p: list[float], x0: int, xt: int, alpha: float, slope: float) -> float:
    """Return the NELBO as the sum in the papers (UDLM, Duo), term by term."""
    V = len(p)
    clean = [V * alpha * (j == x0) + 1 - alpha for j in range(V)]
    guess = [V * alpha * p[j] + 1 - alpha for j in range(V)]
    total = V / clean[xt] - V / guess[xt]
    for j in range(V):
        total -= clean[j] / clean[xt] * math.log(guess[xt] / guess[j] * clean[j] / clean[xt])
    return slope / (V * alpha) * total


@pytest.mark.parametrize("alpha", [0.99999, 0.9, 0.5, 0.001])
@pytest.mark.parametrize("V", SIZES)
def test_nelbo_is_the_textbook_sum(V: int, alpha: float, rng: torch.Generator) -> None:
    logp, slope = random_logp(rng, V * V, V), -0.7
    x0, xt = torch.arange(V).repeat(V), torch.arange(V).repeat_interleave(V)
    ours = uniform_process(V).nelbo(logp, NoisyTokens(x0, xt, full(alpha, V * V), full(slope, V * V)))
    for row in range(V * V):
        naive = naive_nelbo(logp[row].exp().tolist(), int(x0[row]), int(xt[row]), alpha, slope)
        assert float(ours[row]) == pytest.approx(naive, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_nelbo_is_the_limit_of_discrete_time(schedule: Schedule, t: float, rng: torch.Generator) -> None:
    """KL( q(x_s | x_t, x_0) || q(x_s | x_t, p) ) / (t - s) for s -> t, both by Bayes along the chain."""
    V = 4
    p = random_logp(rng, 1, V)[0].exp()
    for x0, xt in ((0, 0), (0, 1), (2, 3)):
        truth = torch.eye(V, dtype=torch.float64)[x0]

        def rate(
            width: float, truth: Tensor = truth, xt: int = xt, x0: int = x0, at: Callable[[Tensor], object] = schedule
        ) -> float:
            late, early = (float(at(torch.tensor(v, dtype=torch.float64)).alpha) for v in (t, t - width))
            q, guess = uniform_posterior(truth, xt, early, late), uniform_posterior(p, xt, early, late)
            return float((q * (q / guess).log()).sum()) / width

        level = schedule(torch.tensor([t], dtype=torch.float64))
        exact = float(
            uniform_process(V, schedule).nelbo(
                p.log()[None], NoisyTokens(torch.tensor([x0]), torch.tensor([xt]), level.alpha, level.slope)
            )
        )
        errors = [abs(rate(width) - exact) for width in (4e-3, 2e-3, 1e-3)]
        assert errors[0] > errors[1] > errors[2]
        extrapolated = 2 * rate(1e-4) - rate(2e-4)
        assert extrapolated == pytest.approx(exact, rel=1e-4)


def test_nelbo_is_zero_at_the_true_prediction_and_positive_elsewhere(rng: torch.Generator) -> None:
    V, n = 5, 500
    x0, xt = torch.randint(V, (n,), generator=rng), torch.randint(V, (n,), generator=rng)
    alpha = torch.rand(n, generator=rng, dtype=torch.float64) * 0.998 + 0.001
    truth = torch.eye(V, dtype=torch.float64)[x0].log()
    process = uniform_process(V)
    torch.testing.assert_close(
        process.nelbo(truth, NoisyTokens(x0, xt, alpha, full(-1, n))), full(0, n), rtol=0, atol=1e-10
    )
    assert (process.nelbo(random_logp(rng, n, V), NoisyTokens(x0, xt, alpha, full(-1, n))) > 0).all()


def test_nelbo_and_the_judge_of_the_posterior_agree_with_the_reference_numbers() -> None:
    numbers = json.loads(reference("uniform_nelbo_posterior.json").read_text())
    V, L = numbers["V"], len(numbers["x0"][0])
    process = uniform_process(V, LogLinearSchedule(numbers["eps"]))
    logits = torch.tensor(numbers["logits"], dtype=torch.float64).flatten(0, 1)
    x0, xt = torch.tensor(numbers["x0"]).flatten(), torch.tensor(numbers["xt"]).flatten()
    late, early = (
        process.level(torch.tensor(numbers[name], dtype=torch.float64).repeat_interleave(L)) for name in ("t", "s")
    )
    logp = process.leave_one_out(logits, xt, late.alpha, Parameterization.LEAVE_ONE_OUT)
    nelbo = process.nelbo(logp, NoisyTokens(x0, xt, late.alpha, late.slope))
    posterior = reverse_posterior(process, logp, xt, early.alpha, late.alpha)
    expected = {name: torch.tensor(numbers[name], dtype=torch.float64) for name in ("nelbo_per_token", "posterior")}
    torch.testing.assert_close(nelbo, expected["nelbo_per_token"].flatten(), rtol=0, atol=1e-6)
    torch.testing.assert_close(posterior, expected["posterior"].flatten(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("V", [27, 30_522])
@pytest.mark.parametrize("t", [1e-5, 1e-3, 0.1, 0.5, 1.0])
def test_float32_keeps_the_loss(V: int, t: float, rng: torch.Generator) -> None:
    n = 24
    logits = 3 * torch.randn(n, V, generator=rng, dtype=torch.float64)
    x0 = torch.randint(V, (n,), generator=rng)
    xt = torch.where(torch.arange(n) % 2 == 0, x0, (x0 + 1) % V)
    process = uniform_process(V)
    level = process.level(full(t, n))
    double, single = (
        process.nelbo(
            process.leave_one_out(values, xt, level.alpha, Parameterization.LEAVE_ONE_OUT),
            NoisyTokens(x0, xt, level.alpha, level.slope),
        )
        for values in (logits, logits.float())
    )
    assert single.dtype == torch.float32
    # near t = 1 terms of order V cancel to a loss of 0.01 nats, with a float32 error of 1e-4 nats
    torch.testing.assert_close(single.double(), double, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parameterization", list(Parameterization))
@pytest.mark.parametrize("t", [1e-5, 1e-3, 1.0])
def test_gradient_is_finite_at_both_ends(dtype: torch.dtype, parameterization: Parameterization, t: float) -> None:
    V, n = 11, 22
    logits = (10 * torch.randn(n, V, generator=torch.Generator().manual_seed(3), dtype=dtype)).requires_grad_()
    x0 = torch.arange(n) % V
    xt = torch.where(torch.arange(n) < V, x0, (x0 + 1) % V)
    process = uniform_process(V)
    level = process.level(full(t, n))
    loss = process.nelbo(
        process.leave_one_out(logits, xt, level.alpha, parameterization), NoisyTokens(x0, xt, level.alpha, level.slope)
    )
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
