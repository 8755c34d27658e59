import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import (
    PAIRS,
    SIZES,
    SMALLEST_P,
    assert_frequencies,
    full,
    random_logp,
    reference,
    reverse_posterior,
    uniform_kernel,
)
from uddm_lightning.processes import Parameterization, UniformProcess
from uddm_lightning.processes import uniform as module
from uddm_lightning.processes.schedules import CosineSchedule, LogLinearSchedule, Schedule


def make_process(V: int, schedule: Schedule | None = None) -> UniformProcess:
    return UniformProcess(V, schedule or LogLinearSchedule())


def bayes(p_V: Tensor, xt: int, alpha_s: float, alpha_t: float) -> Tensor:
    """Return p(x_s | x_t) for x_0 ~ p, summed over the forward chain x_0 -> x_s -> x_t."""
    V = len(p_V)
    first = uniform_kernel(-math.log(alpha_s), V)
    second = uniform_kernel(math.log(alpha_s) - math.log(alpha_t), V)
    joint = p_V[:, None, None] * first[:, :, None] * second[None]
    seen = joint[:, :, xt].sum(0)
    return seen / seen.sum()


def naive_nelbo(p: list[float], x0: int, xt: int, alpha: float, slope: float) -> float:
    """Return the NELBO as the sum in the papers (UDLM, Duo), term by term."""
    V = len(p)
    clean = [V * alpha * (j == x0) + 1 - alpha for j in range(V)]
    guess = [V * alpha * p[j] + 1 - alpha for j in range(V)]
    total = V / clean[xt] - V / guess[xt]
    for j in range(V):
        total -= clean[j] / clean[xt] * math.log(guess[xt] / guess[j] * clean[j] / clean[xt])
    return slope / (V * alpha) * total


# ---------------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
@pytest.mark.parametrize("t", [0.05, 0.5, 1.0])
def test_corrupt_draws_the_matrix_exponential_of_the_generator(schedule: Schedule, t: float) -> None:
    V, rows, L = 5, 4000, 20
    x0 = torch.arange(V).repeat(rows * L // V).view(rows, L)
    noised = make_process(V, schedule).corrupt(x0, full(t, rows), torch.arange(rows))
    kernel = uniform_kernel(float(schedule(torch.tensor(t, dtype=torch.float64)).sigma), V)
    for start in range(V):
        assert_frequencies(torch.bincount(noised.xt_BL[x0 == start], minlength=V), kernel[start])


def test_corrupt_returns_times_levels_and_padding() -> None:
    x0, t = torch.zeros(3, 4, dtype=torch.int64), torch.tensor([0.1, 0.5, 1.0])
    valid = torch.ones(3, 4, dtype=torch.bool)
    noised = make_process(5).corrupt(x0, t, torch.arange(3), valid)
    assert torch.equal(noised.x0_BL, x0)
    assert torch.equal(noised.t_B, t)
    assert noised.valid_BL is valid
    torch.testing.assert_close(noised.alpha_B, 1 - 0.999 * t.double())
    torch.testing.assert_close(noised.slope_B, full(-0.999, 3))
    assert make_process(5).corrupt(x0, t, torch.arange(3)).valid_BL is None


@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_rate_of_changed_tokens(t: float) -> None:
    V, n = 4, 200_000
    x0 = torch.arange(n).view(1000, 200) % V
    changed = int((make_process(V).corrupt(x0, full(t, 1000), torch.arange(1000)).xt_BL != x0).sum())
    rate = 0.999 * t * (1 - 1 / V)
    assert_frequencies(torch.tensor([changed, n - changed]), torch.tensor([rate, 1 - rate]))


def test_positions_and_rows_are_corrupted_independently() -> None:
    V, rows = 3, 20_000
    x0 = torch.zeros(rows, 3, dtype=torch.int64)
    xt = make_process(V).corrupt(x0, full(0.6, rows), torch.arange(rows)).xt_BL
    one = uniform_kernel(-math.log(1 - 0.999 * 0.6), V)[0]
    joint = (one[:, None, None] * one[:, None] * one).flatten()
    assert_frequencies(torch.bincount((xt * torch.tensor([9, 3, 1])).sum(1), minlength=27), joint)
    pairs = xt[::2, 0] * V + xt[1::2, 0]
    assert_frequencies(torch.bincount(pairs, minlength=9), (one[:, None] * one).flatten())


def test_corruption_is_nested_in_time() -> None:
    """With the same key, a larger t changes a superset of the tokens, and changed tokens keep their new id."""
    V = 9
    x0, keys = torch.arange(6400).view(100, 64) % V, torch.arange(100)
    process, before = make_process(V), x0
    touched = torch.zeros_like(x0, dtype=torch.bool)
    for t in (0.0, 0.01, 0.1, 0.3, 0.8, 1.0):
        after = process.corrupt(x0, full(t, 100), keys).xt_BL
        assert torch.equal(after[touched], before[touched])
        assert ((after != x0) | ~touched).all()
        touched, before = after != x0, after
    assert torch.equal(process.corrupt(x0, full(0.0, 100), keys).xt_BL, x0)


def test_padding_is_unchanged_and_does_not_affect_other_tokens(rng: torch.Generator) -> None:
    x0, keys = torch.randint(6, (50, 16), generator=rng), torch.arange(50)
    valid = torch.rand(50, 16, generator=rng) < 0.6
    process = make_process(6)
    free, masked = (process.corrupt(x0, full(1.0, 50), keys, mask).xt_BL for mask in (None, valid))
    assert torch.equal(masked[~valid], x0[~valid])
    assert torch.equal(masked[valid], free[valid])


def test_corruption_of_a_row_does_not_depend_on_its_batch() -> None:
    process, keys = make_process(11), torch.arange(64) * 77
    x0, t = torch.arange(64 * 8).view(64, 8) % 11, torch.linspace(0.01, 1, 64, dtype=torch.float64)
    whole = process.corrupt(x0, t, keys).xt_BL
    for size in (1, 7, 64):
        parts = [
            process.corrupt(a, b, c).xt_BL for a, b, c in zip(*(v.split(size) for v in (x0, t, keys)), strict=True)
        ]
        assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(process.corrupt(x0, t, keys + 1).xt_BL, whole)
    # the draw depends on the position and not on the length of the row
    assert torch.equal(process.corrupt(x0[:, :5], t, keys).xt_BL, whole[:, :5])


@pytest.mark.parametrize("V", [1, 0])
def test_vocabulary_error(V: int) -> None:
    with pytest.raises(ValueError, match=rf"^`vocab_size` must be at least 2, got {V}"):
        make_process(V)


# ------------------------------------------------------------------------------------------------- parameterization


@pytest.mark.parametrize("alpha", [0.999, 0.5, 0.001])
@pytest.mark.parametrize("V", SIZES)
def test_posterior_logits_are_converted_to_leave_one_out(V: int, alpha: float, rng: torch.Generator) -> None:
    """Apply Bayes to a leave-one-out prediction; the process must invert it."""
    prior = random_logp(rng, 40, V).exp()
    xt = torch.randint(V, (40,), generator=rng)
    likelihood = uniform_kernel(-math.log(alpha), V)[:, xt].T
    logits = (prior * likelihood).log() + torch.randn(40, 1, generator=rng, dtype=torch.float64)
    logp = make_process(V).leave_one_out(logits, xt, full(alpha, 40), Parameterization.POSTERIOR)
    torch.testing.assert_close(logp.exp(), prior, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parameterization", list(Parameterization))
def test_leave_one_out_is_normalised_in_the_dtype_of_the_logits(
    dtype: torch.dtype, parameterization: Parameterization
) -> None:
    logits = 5 * torch.randn(30, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)
    before = logits.clone()
    logp = make_process(7).leave_one_out(logits, torch.arange(30) % 7, full(0.7, 30), parameterization)
    assert logp.dtype == dtype
    assert torch.equal(logits, before), "the argument was modified"
    torch.testing.assert_close(logp.exp().sum(1), torch.ones(30, dtype=dtype))
    if parameterization is Parameterization.LEAVE_ONE_OUT:
        torch.testing.assert_close(logp - logp[:, :1], logits - logits[:, :1])


# ---------------------------------------------------------------------------------------------------------- reverse


@pytest.mark.parametrize(("alpha_s", "alpha_t"), PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_step_draws_the_posterior(alpha_s: float, alpha_t: float, dtype: torch.dtype, rng: torch.Generator) -> None:
    V, n = 5, 60_000
    logp = random_logp(rng, 1, V, scale=1.0)
    for xt in range(2):
        q = bayes(logp.exp()[0], xt, alpha_s, alpha_t)
        drawn = make_process(V).step(
            logp.to(dtype).expand(n, V), full(xt, n).long(), full(alpha_s, n), full(alpha_t, n), torch.arange(n)
        )
        assert drawn.dtype == torch.int64
        if q.min() * n < 5:  # the step is so short that other ids are rare: count moves only
            moved = (drawn != xt).sum()
            expected = n * float(1 - q[xt])
            assert abs(float(moved) - expected) < 4 * math.sqrt(expected) + 1
        else:
            assert_frequencies(torch.bincount(drawn, minlength=V), q)


def test_step_draws_the_posterior_where_the_prediction_has_zeros() -> None:
    V, n = 4, 40_000
    p = torch.tensor([0.0, 0.6, 0.0, 0.4], dtype=torch.float64)
    for xt, alpha_s in ((0, 1.0), (1, 1.0), (0, 0.6), (1, 0.6)):
        drawn = make_process(V).step(
            p.log().expand(n, V), full(xt, n).long(), full(alpha_s, n), full(0.3, n), torch.arange(n)
        )
        assert_frequencies(torch.bincount(drawn, minlength=V), bayes(p, xt, alpha_s, 0.3))


def test_step_never_draws_an_id_of_probability_zero_at_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test uniform numbers at the boundaries of intervals of probability 0."""
    p = torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0]], dtype=torch.float64)
    for number, expected in ((0.0, 2), (0.5, 3), (1 - 2**-53, 3)):
        draws = {0: torch.zeros(1, dtype=torch.float64), 1: torch.full((1,), number, dtype=torch.float64)}
        monkeypatch.setattr(module, "uniform", lambda _, use, draws=draws: draws[use])
        drawn = make_process(5).step(p.log(), torch.tensor([0]), full(1.0, 1), full(0.3, 1), torch.zeros(1).long())
        assert drawn.item() == expected


def test_step_of_a_row_does_not_depend_on_its_batch(rng: torch.Generator) -> None:
    """A row of a batch with mixed levels gets the same draw as in a call of its own."""
    V, n = 7, 300
    logp, xt = random_logp(rng, n, V), torch.randint(V, (n,), generator=rng)
    alpha_s = torch.rand(n, generator=rng, dtype=torch.float64) * 0.5 + 0.5
    alpha_t = alpha_s * torch.rand(n, generator=rng, dtype=torch.float64)
    keys, process, before = torch.arange(n), make_process(V), xt.clone()
    whole = process.step(logp, xt, alpha_s, alpha_t, keys)
    assert torch.equal(xt, before), "the argument was modified"
    assert (whole != xt).any()
    for row in range(n):
        one = slice(row, row + 1)
        assert process.step(logp[one], xt[one], alpha_s[one], alpha_t[one], keys[one]) == whole[one]
    order = torch.randperm(n, generator=rng)
    assert torch.equal(process.step(logp[order], xt[order], alpha_s[order], alpha_t[order], keys[order]), whole[order])
    assert not torch.equal(process.step(logp, xt, alpha_s, alpha_t, keys + n), whole)


def test_step_without_changes_returns_a_copy() -> None:
    xt = torch.arange(5)
    logp = torch.eye(5, dtype=torch.float64).add(1e-12).log()
    xs = make_process(5).step(logp, xt, full(1.0, 5), full(1.0 - 1e-9, 5), torch.arange(5))
    assert torch.equal(xs, xt)
    assert xs.data_ptr() != xt.data_ptr()


@pytest.mark.parametrize(("alpha_s", "alpha_t"), PAIRS)
@pytest.mark.parametrize("V", SIZES)
def test_argmax_step_is_the_argmax_of_bayes(V: int, alpha_s: float, alpha_t: float, rng: torch.Generator) -> None:
    logp = random_logp(rng, 60, V, scale=4.0)
    xt = torch.randint(V, (60,), generator=rng)
    best = make_process(V).argmax_step(logp, xt, full(alpha_s, 60), full(alpha_t, 60))
    expected = [int(bayes(p, int(i), alpha_s, alpha_t).argmax()) for p, i in zip(logp.exp(), xt, strict=True)]
    assert best.tolist() == expected


def test_argmax_step_changes_a_token_in_a_long_step_only() -> None:
    logp = torch.tensor([[0.98, 0.01, 0.01]], dtype=torch.float64).log()
    xt, process = torch.tensor([1]), make_process(3)
    assert process.argmax_step(logp, xt, full(1.0, 1), full(0.1, 1)).item() == 0
    assert process.argmax_step(logp, xt, full(0.101, 1), full(0.1, 1)).item() == 1


# ---------------------------------------------------------------------------------------------------------- likelihood


@pytest.mark.parametrize("alpha", [0.99999, 0.9, 0.5, 0.001])
@pytest.mark.parametrize("V", SIZES)
def test_nelbo_is_the_textbook_sum(V: int, alpha: float, rng: torch.Generator) -> None:
    logp, slope = random_logp(rng, V * V, V), -0.7
    x0, xt = torch.arange(V).repeat(V), torch.arange(V).repeat_interleave(V)
    ours = make_process(V).nelbo(logp, x0, xt, full(alpha, V * V), full(slope, V * V))
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
            q, guess = bayes(truth, xt, early, late), bayes(p, xt, early, late)
            return float((q * (q / guess).log()).sum()) / width

        level = schedule(torch.tensor([t], dtype=torch.float64))
        exact = float(
            make_process(V, schedule).nelbo(
                p.log()[None], torch.tensor([x0]), torch.tensor([xt]), level.alpha, level.slope
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
    process = make_process(V)
    torch.testing.assert_close(process.nelbo(truth, x0, xt, alpha, full(-1, n)), full(0, n), rtol=0, atol=1e-10)
    assert (process.nelbo(random_logp(rng, n, V), x0, xt, alpha, full(-1, n)) > 0).all()


def test_nelbo_and_the_judge_of_the_posterior_agree_with_the_reference_numbers() -> None:
    numbers = json.loads(reference("uniform_nelbo_posterior.json").read_text())
    V, L = numbers["V"], len(numbers["x0"][0])
    process = make_process(V, LogLinearSchedule(numbers["eps"]))
    logits = torch.tensor(numbers["logits"], dtype=torch.float64).flatten(0, 1)
    x0, xt = torch.tensor(numbers["x0"]).flatten(), torch.tensor(numbers["xt"]).flatten()
    late, early = (
        process.level(torch.tensor(numbers[name], dtype=torch.float64).repeat_interleave(L)) for name in ("t", "s")
    )
    logp = process.leave_one_out(logits, xt, late.alpha, Parameterization.LEAVE_ONE_OUT)
    nelbo = process.nelbo(logp, x0, xt, late.alpha, late.slope)
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
    process = make_process(V)
    level = process.level(full(t, n))
    double, single = (
        process.nelbo(
            process.leave_one_out(values, xt, level.alpha, Parameterization.LEAVE_ONE_OUT),
            x0,
            xt,
            level.alpha,
            level.slope,
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
    process = make_process(V)
    level = process.level(full(t, n))
    loss = process.nelbo(
        process.leave_one_out(logits, xt, level.alpha, parameterization), x0, xt, level.alpha, level.slope
    )
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


# ---------------------------------------------------------------------------------------------------------- chance


@pytest.mark.parametrize("alpha", [0.95, 0.5, 0.001])
def test_chance_is_bayes_under_the_unigram_model(alpha: float) -> None:
    V = 6
    f = torch.softmax(torch.arange(V, dtype=torch.float64) / 2, 0)
    joint = f[:, None] * uniform_kernel(-math.log(alpha), V)
    expected = joint / joint.sum(0)
    x0, xt = torch.arange(V).repeat_interleave(V), torch.arange(V).repeat(V)
    ours = make_process(V).chance(x0, xt, full(alpha, V * V), f)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, expected.flatten(), rtol=1e-12, atol=1e-14)


def test_chi_square_rejects_a_slightly_wrong_kernel() -> None:
    """At the sample sizes used here, the chi-square must reject an error of 0.01 in a probability."""
    q = torch.tensor([0.5, 0.3, 0.2])
    with pytest.raises(AssertionError, match="chi-square"):
        assert_frequencies(60_000 * torch.tensor([0.51, 0.29, 0.2]), q)
    assert SMALLEST_P <= 1e-3


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_may_change_mask_of_a_short_step_is_sparse_and_tight(t: float) -> None:
    """In one of 1000 steps about 1 % of the tokens may change, and most of them do."""
    process, n = make_process(7), 100_000
    keys, xt = torch.arange(n), torch.arange(n) % 7
    alpha_s, alpha_t = process.level(full(t - 1e-3, n)).alpha, process.level(full(t, n)).alpha
    may = process.may_change_mask(xt, alpha_s, alpha_t, keys)
    jump, scatter = (alpha_s - alpha_t)[0], ((1 - alpha_t / alpha_s) * (1 - alpha_s))[0]
    stay = (alpha_t / alpha_s - alpha_t)[0]
    share = float((jump + scatter) / (jump + scatter + stay))
    assert may.double().mean() == pytest.approx(share, rel=0.15)
    assert share < 0.012
    other = -1e3 * torch.nn.functional.one_hot(xt, 7).double()
    moved = process.step(other.log_softmax(1), xt, alpha_s, alpha_t, keys) != xt
    assert (moved & ~may).sum() == 0
    assert moved[may].double().mean() > 0.85
