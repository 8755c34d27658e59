import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from uddm_lightning.stats.intervals import (
    NORMAL,
    Interval,
    difference_interval,
    linear_interval,
    mean_interval,
    rate_interval,
    seeds_bounds,
    seeds_interval,
)


def test_a_difference_adds_widths_in_quadrature_and_shifts_by_variance() -> None:
    assert difference_interval(Interval(0.6, 0.5, 0.7), Interval(0.4, 0.3, 0.5)) == pytest.approx(
        (0.2, 0.2 - 0.1 * 2**0.5, 0.2 + 0.1 * 2**0.5)
    )
    value, low, high = difference_interval(Interval(0.9, 0.6, 1.0), Interval(0.4, 0.3, 0.5))
    assert value == 0.5
    assert (low + high) / 2 == pytest.approx(0.5 - 0.9 * 0.1 * 0.2**2 / (0.2**2 + 0.1**2))
    assert (high - low) / 2 == pytest.approx(math.hypot(0.2, 0.1))
    other = difference_interval(Interval(0.4, 0.3, 0.5), Interval(0.9, 0.6, 1.0))
    assert other == pytest.approx((-value, -high, -low))
    point = Interval(0.5, 0.5, 0.5)
    assert difference_interval(point, point) == (0.0, 0.0, 0.0)
    assert all(map(math.isnan, difference_interval(Interval(0.6, 0.5, 0.7), Interval(0.4, math.nan, math.nan))[1:]))


def test_the_width_of_a_sum_depends_on_the_correlation_of_its_errors() -> None:
    bounds = np.array([[0.6, 0.5, 0.7], [0.4, 0.3, 0.5]]).T
    assert linear_interval([1, -1], bounds) == difference_interval(Interval(*bounds[:, 0]), Interval(*bounds[:, 1]))
    for rho in (-0.5, 0.0, 0.6, 1.0):
        found = linear_interval([1, -1], bounds, [[1, rho], [rho, 1]])
        assert found.value == pytest.approx(0.2)
        assert found.high - found.value == pytest.approx(0.1 * math.sqrt(2 - 2 * rho), abs=1e-9)
        assert linear_interval([0.5, 0.5], bounds, [[1, rho], [rho, 1]]).value == pytest.approx(0.5)
    bounds = np.c_[bounds, [0.1, math.nan, math.nan]]
    assert linear_interval([1, -1, 0], bounds) == linear_interval([1, -1], bounds[:, :2])
    assert math.isnan(linear_interval([1, -1, 1], bounds).low)


def test_seeds_enter_by_students_t_beyond_what_sampling_explains() -> None:
    mean = Interval(0.5, 0.5 - 0.001, 0.5 + 0.001)
    values, halves = [0.4, 0.5, 0.6], [0.001 * 3**0.5] * 3
    found = seeds_interval(values, halves, mean)
    assert found.high - 0.5 == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(values), rel=1e-3)
    assert seeds_interval(values[:1], halves[:1], mean) == mean
    same = seeds_interval([0.5] * 3, halves, mean)
    assert same == pytest.approx(mean), "seeds that agree by accident make nothing more certain"


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_intervals_of_few_seeds_cover(seeds: int, ratio: float, shared: float) -> None:
    """Simulate sampling errors of variance 1, partly shared by all seeds, and a variance between seeds."""
    rng = np.random.default_rng([seeds, int(10 * ratio), int(10 * shared)])
    own = rng.standard_normal((seeds, 20000)) * math.sqrt(1 - shared + ratio)
    values = own + math.sqrt(shared) * rng.standard_normal(20000)
    half = NORMAL * math.sqrt((1 - shared) / seeds + shared)
    mean = values.mean(0)
    _, low, high = seeds_bounds(values, np.full(values.shape, NORMAL), np.stack([mean, mean - half, mean + half]))
    coverage = ((low <= 0) & (high >= 0)).mean()
    allowance = 3 * math.sqrt(0.98 * 0.02 / 20000)
    assert 0.93 <= coverage <= (0.98 + allowance if seeds > 2 else 1.0)


def test_rate_interval_solves_the_score_equation_of_independent_trials() -> None:
    # one trial a row, half successes: no skew, so both sides use the same quantile
    trials, successes = np.ones(40), np.repeat([0.0, 1.0], 20)
    value, low, high = rate_interval(successes, trials)
    q = stats.t.ppf(0.97, 39)  # without skew both sides are short; n = 39 by the factor R / (R - 1)

    def score(mu: float) -> float:
        return (value - mu) ** 2 - q**2 * mu * (1 - mu) / 39

    assert low == pytest.approx(optimize.brentq(score, 0.0, value), rel=1e-7)
    assert high == pytest.approx(optimize.brentq(score, value, 1.0), rel=1e-7)


def test_mean_interval_without_a_range_is_students_on_either_side() -> None:
    values = np.array([9.0, 1.0, 2.0, 1.0, 0.0, 3.0, 1.0, 2.0])  # the long tail is on the right
    value, low, high = mean_interval(values, np.ones(8), low=None)
    error, residuals = stats.sem(values), values - values.mean()
    carriers = (residuals**2).sum() ** 2 / (residuals**4).sum()
    assert int(carriers - 1) <= 1
    assert low == pytest.approx(value - stats.t.ppf(0.97, 7) * error, rel=1e-7)
    assert high == pytest.approx(value + stats.t.ppf(0.98, 1) * error, rel=1e-7)
    mirrored = mean_interval(-values, np.ones(8), low=None)
    assert mirrored == pytest.approx((-value, -high, -low))


def test_rounding_does_not_choose_the_quantile() -> None:
    """With two rows the residuals are opposite, and their skew is 0 up to rounding."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        sums, counts = rng.random(2) * 30, rng.integers(1, 60, 2).astype(float)
        whole = mean_interval(sums, counts, 0.0, 3.3)
        for nudge in (1 - 2e-16, 1 + 3e-16):
            assert mean_interval(sums * nudge, counts, 0.0, 3.3) == pytest.approx(whole, rel=1e-9)
    values, ones = rng.random((200, 8)), np.ones(8)
    for row in values:  # rows in another order have other rounding errors
        there, back = (mean_interval(part, ones, 0.0, 1.0) for part in (row, row[::-1]))
        assert there == pytest.approx(back, rel=1e-9)


def test_extreme_rates_keep_a_width_that_shrinks_with_the_rows() -> None:
    none, all_ = rate_interval([0] * 8, [3] * 8), rate_interval([3] * 8, [3] * 8)
    q2 = stats.t.ppf(0.975, 7) ** 2
    assert none == pytest.approx((0.0, 0.0, q2 / (8 + q2)))
    assert all_ == pytest.approx((1.0, 8 / (8 + q2), 1.0))
    assert rate_interval([0] * 800, [3] * 800).high < none.high / 50
    # equal rates in all rows do not prove independence
    assert rate_interval([1] * 8, [3] * 8).low < 0.1


def test_means_of_equal_rows_have_no_width_without_a_limit() -> None:
    assert mean_interval([3.0] * 4, [3] * 4) == (1.0, 1.0, 1.0)
    assert mean_interval([3.0] * 4, [3] * 4, low=None) == (1.0, 1.0, 1.0)


def test_means_allow_for_values_at_the_limits_that_were_not_seen() -> None:
    share = 3 / (8 * 4)
    assert mean_interval([0.0] * 8, [16] * 8, 0.0, 3.0) == pytest.approx((0.0, 0.0, 3 * share))
    assert mean_interval([48.0] * 8, [16] * 8, 0.0, 3.0) == pytest.approx((3.0, 3 * (1 - share), 3.0))
    assert mean_interval([16.0] * 8, [16] * 8, 0.0, 3.0) == pytest.approx((1.0, 1 - share, 1 + 2 * share))
    assert mean_interval([0.0] * 2, [1] * 2, 0.0, 3.0).high == 3.0
    low = mean_interval([-1e-19, -2e-19], [3, 3], 0.0, 3.0).low
    assert low == pytest.approx(0.0, abs=1e-15)


def test_memorized_rows_have_a_narrow_interval() -> None:
    sums = np.random.default_rng(0).gamma(2048, 3e-4, 8)  # 8 rows, 64 draws of 32 tokens
    value, low, high = mean_interval(sums, [2048] * 8, 0.0, math.log(27))
    assert value == pytest.approx(3e-4, rel=0.05)
    assert 0.9 * value < low
    assert high == pytest.approx(3 / (8 * 2048**0.5) * math.log(27), rel=0.02)  # 0.028 nats


@pytest.mark.parametrize("count", [[], [0], [0, 0], [4], [4, 0]])
def test_a_single_row_has_a_value_and_no_bounds(count: list[int]) -> None:
    sums = [value / 2 for value in count]
    for interval in (rate_interval(sums, count), mean_interval(sums, count), mean_interval(sums, count, None)):
        assert interval.value == 0.5 if sum(count) else math.isnan(interval.value)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_values_that_are_not_finite_are_returned() -> None:
    assert all(map(math.isnan, mean_interval([1.0, math.nan], [2, 2])))
    infinite = mean_interval([1.0, math.inf], [2, 2], low=None)
    assert infinite.value == math.inf
    assert math.isnan(infinite.low)


counts = st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1)), max_size=30)


@settings(max_examples=200, deadline=None)
@given(counts)
def test_an_interval_contains_its_value_and_is_symmetric_under_reflection(cells: list[tuple[int, float]]) -> None:
    trials = np.array([n for n, _ in cells], float)
    successes = np.array([round(n * share) for n, share in cells], float)
    value, low, high = rate_interval(successes, trials)
    if (trials > 0).sum() > 1:
        assert 0.0 <= low <= value <= high <= 1.0
        mirrored = rate_interval(trials - successes, trials)
        assert mirrored == pytest.approx((1 - value, 1 - high, 1 - low), abs=1e-9)
        padded = rate_interval(np.append(successes, 0), np.append(trials, 0))
        assert padded == pytest.approx((value, low, high), abs=1e-12)
        scaled = mean_interval(3 * successes, trials, 0.0, 3.0)
        assert scaled.value == pytest.approx(3 * value)
        assert 0.0 <= scaled.low <= scaled.value <= scaled.high <= 3.0 + 1e-12


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"`successes_R` must be between 0 and `trials_R`, got 3 of 2"):
        rate_interval([1, 3], [2, 2])
    with pytest.raises(
        ValueError, match=r"`sums_R` and `counts_R` must be of one length \(R,\), got shapes \(2,\) and"
    ):
        mean_interval([1, 3], [2])
    with pytest.raises(ValueError, match=r"`counts_R` must be at least 0, got -2"):
        mean_interval([1, 3], [2, -2])
    with pytest.raises(ValueError, match=r"`high` needs a `low` below it, got low = None and high = 1"):
        mean_interval([1], [2], None, 1.0)
