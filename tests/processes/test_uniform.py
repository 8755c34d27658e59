import math

import pytest
import torch

from tests.support.toy_worlds import (
    PAIRS,
    SIZES,
    SMALLEST_P,
    assert_frequencies,
    full,
    random_logp,
    uniform_kernel,
    uniform_posterior,
    uniform_process,
)
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import uniform as module
from uddm_lightning.processes.schedules import CosineSchedule, LogLinearSchedule, Schedule

# ---------------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
@pytest.mark.parametrize("t", [0.05, 0.5, 1.0])
def test_corrupt_draws_the_matrix_exponential_of_the_generator(schedule: Schedule, t: float) -> None:
    V, rows, L = 5, 4000, 20
    x0 = torch.arange(V).repeat(rows * L // V).view(rows, L)
    noised = uniform_process(V, schedule).corrupt(x0, full(t, rows), torch.arange(rows))
    kernel = uniform_kernel(float(schedule(torch.tensor(t, dtype=torch.float64)).sigma), V)
    for start in range(V):
        assert_frequencies(torch.bincount(noised.xt_BL[x0 == start], minlength=V), kernel[start])


def test_corrupt_returns_times_levels_and_padding() -> None:
    x0, t = torch.zeros(3, 4, dtype=torch.int64), torch.tensor([0.1, 0.5, 1.0])
    valid = torch.ones(3, 4, dtype=torch.bool)
    noised = uniform_process(5).corrupt(x0, t, torch.arange(3), valid)
    assert torch.equal(noised.x0_BL, x0)
    assert torch.equal(noised.t_B, t)
    assert noised.valid_BL is valid
    torch.testing.assert_close(noised.alpha_B, 1 - 0.999 * t.double())
    torch.testing.assert_close(noised.slope_B, full(-0.999, 3))
    assert uniform_process(5).corrupt(x0, t, torch.arange(3)).valid_BL is None


@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_rate_of_changed_tokens(t: float) -> None:
    V, n = 4, 200_000
    x0 = torch.arange(n).view(1000, 200) % V
    changed = int((uniform_process(V).corrupt(x0, full(t, 1000), torch.arange(1000)).xt_BL != x0).sum())
    rate = 0.999 * t * (1 - 1 / V)
    assert_frequencies(torch.tensor([changed, n - changed]), torch.tensor([rate, 1 - rate]))


def test_positions_and_rows_are_corrupted_independently() -> None:
    V, rows = 3, 20_000
    x0 = torch.zeros(rows, 3, dtype=torch.int64)
    xt = uniform_process(V).corrupt(x0, full(0.6, rows), torch.arange(rows)).xt_BL
    one = uniform_kernel(-math.log(1 - 0.999 * 0.6), V)[0]
    joint = (one[:, None, None] * one[:, None] * one).flatten()
    assert_frequencies(torch.bincount((xt * torch.tensor([9, 3, 1])).sum(1), minlength=27), joint)
    pairs = xt[::2, 0] * V + xt[1::2, 0]
    assert_frequencies(torch.bincount(pairs, minlength=9), (one[:, None] * one).flatten())


def test_corruption_is_nested_in_time() -> None:
    """With the same key, a larger t changes a superset of the tokens, and changed tokens keep their new id."""
    V = 9
    x0, keys = torch.arange(6400).view(100, 64) % V, torch.arange(100)
    process, before = uniform_process(V), x0
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
    process = uniform_process(6)
    free, masked = (process.corrupt(x0, full(1.0, 50), keys, mask).xt_BL for mask in (None, valid))
    assert torch.equal(masked[~valid], x0[~valid])
    assert torch.equal(masked[valid], free[valid])


def test_corruption_of_a_row_does_not_depend_on_its_batch() -> None:
    process, keys = uniform_process(11), torch.arange(64) * 77
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
        uniform_process(V)


# ------------------------------------------------------------------------------------------------- parameterization


@pytest.mark.parametrize("alpha", [0.999, 0.5, 0.001])
@pytest.mark.parametrize("V", SIZES)
def test_posterior_logits_are_converted_to_leave_one_out(V: int, alpha: float, rng: torch.Generator) -> None:
    """Apply Bayes to a leave-one-out prediction; the process must invert it."""
    prior = random_logp(rng, 40, V).exp()
    xt = torch.randint(V, (40,), generator=rng)
    likelihood = uniform_kernel(-math.log(alpha), V)[:, xt].T
    logits = (prior * likelihood).log() + torch.randn(40, 1, generator=rng, dtype=torch.float64)
    logp = uniform_process(V).leave_one_out(logits, xt, full(alpha, 40), Parameterization.POSTERIOR)
    torch.testing.assert_close(logp.exp(), prior, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parameterization", list(Parameterization))
def test_leave_one_out_is_normalised_in_the_dtype_of_the_logits(
    dtype: torch.dtype, parameterization: Parameterization
) -> None:
    logits = 5 * torch.randn(30, 7, generator=torch.Generator().manual_seed(0), dtype=dtype)
    before = logits.clone()
    logp = uniform_process(7).leave_one_out(logits, torch.arange(30) % 7, full(0.7, 30), parameterization)
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
        q = uniform_posterior(logp.exp()[0], xt, alpha_s, alpha_t)
        drawn = uniform_process(V).step(
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
        drawn = uniform_process(V).step(
            p.log().expand(n, V), full(xt, n).long(), full(alpha_s, n), full(0.3, n), torch.arange(n)
        )
        assert_frequencies(torch.bincount(drawn, minlength=V), uniform_posterior(p, xt, alpha_s, 0.3))


def test_step_never_draws_an_id_of_probability_zero_at_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test uniform numbers at the boundaries of intervals of probability 0."""
    p = torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0]], dtype=torch.float64)
    for number, expected in ((0.0, 2), (0.5, 3), (1 - 2**-53, 3)):
        draws = {0: torch.zeros(1, dtype=torch.float64), 1: torch.full((1,), number, dtype=torch.float64)}
        monkeypatch.setattr(module, "uniform", lambda _, use, draws=draws: draws[use])
        drawn = uniform_process(5).step(p.log(), torch.tensor([0]), full(1.0, 1), full(0.3, 1), torch.zeros(1).long())
        assert drawn.item() == expected


def test_step_without_changes_returns_a_copy() -> None:
    xt = torch.arange(5)
    logp = torch.eye(5, dtype=torch.float64).add(1e-12).log()
    xs = uniform_process(5).step(logp, xt, full(1.0, 5), full(1.0 - 1e-9, 5), torch.arange(5))
    assert torch.equal(xs, xt)
    assert xs.data_ptr() != xt.data_ptr()


@pytest.mark.parametrize(("alpha_s", "alpha_t"), PAIRS)
@pytest.mark.parametrize("V", SIZES)
def test_argmax_step_is_the_argmax_of_bayes(V: int, alpha_s: float, alpha_t: float, rng: torch.Generator) -> None:
    logp = random_logp(rng, 60, V, scale=4.0)
    xt = torch.randint(V, (60,), generator=rng)
    best = uniform_process(V).argmax_step(logp, xt, full(alpha_s, 60), full(alpha_t, 60))
    expected = [
        int(uniform_posterior(p, int(i), alpha_s, alpha_t).argmax()) for p, i in zip(logp.exp(), xt, strict=True)
    ]
    assert best.tolist() == expected


def test_argmax_step_changes_a_token_in_a_long_step_only() -> None:
    logp = torch.tensor([[0.98, 0.01, 0.01]], dtype=torch.float64).log()
    xt, process = torch.tensor([1]), uniform_process(3)
    assert process.argmax_step(logp, xt, full(1.0, 1), full(0.1, 1)).item() == 0
    assert process.argmax_step(logp, xt, full(0.101, 1), full(0.1, 1)).item() == 1


# ---------------------------------------------------------------------------------------------------------- likelihood


# ---------------------------------------------------------------------------------------------------------- chance


@pytest.mark.parametrize("alpha", [0.95, 0.5, 0.001])
def test_chance_is_bayes_under_the_unigram_model(alpha: float) -> None:
    V = 6
    f = torch.softmax(torch.arange(V, dtype=torch.float64) / 2, 0)
    joint = f[:, None] * uniform_kernel(-math.log(alpha), V)
    expected = joint / joint.sum(0)
    x0, xt = torch.arange(V).repeat_interleave(V), torch.arange(V).repeat(V)
    ours = uniform_process(V).chance(x0, xt, full(alpha, V * V), f)
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
    process, n = uniform_process(7), 100_000
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
