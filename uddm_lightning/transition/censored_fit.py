"""Fit times that are censored in part: some lie before the first measured step, some after the last.

A time tau is the step at which a curve reaches a level (`onset`). The model is a log-logistic regression (Kalbfleisch
and Prentice, "The statistical analysis of failure time data", 1980, chapter 3): ln tau = mu + s e, where e has the
logistic distribution F(e) = 1 / (1 + exp(-e)). With z = (ln tau - mu) / s, the log-likelihood of

* a known time is ln F(z) + ln F(-z) - ln s;
* a time above the last step is ln F(-z) at that step;
* a time below the first step is ln F(z) at that step.

mu is a + b ln N (`fit_line`), a + b ln N + c (ln N)^2 (`fit_bend`), or one value for each size (`fit_groups`). The
log-likelihood is concave in mu. Nothing is extrapolated: a time that was not reached enters by its lower end alone.

Intervals are those of the profile likelihood: all values whose deviance from the maximum is at most
n ln(1 + t^2 / df), with Student's t on df = n - parameters. For normal errors without censoring that is the exact
interval of least squares. 2 % lie beyond each end, instead of 2.5 %, because the level is crossed between two measured
steps; this was chosen by simulation.

Shapes: N times, B slopes, S scales, A places.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uddm_lightning.stats.intervals import Interval
from uddm_lightning.stats.student_t import student_t

FLOAT = NDArray[np.float64]

LEAST_SIZES = 3  # sizes with a known time that a slope needs
_SCALES = np.geomspace(0.03, 3.0, 32)  # of ln tau
_STEEPEST = 8.0  # largest slope that is considered
_POINTS = 41
_HALVINGS = 16
_NEWTON_STEPS = 25
_CONVERGED = 1e-6
_LEVEL = 0.98  # of Student's t, see above


class Times(NamedTuple):
    """Times of several runs, in steps.

    Attributes:
        low_N: lower ends; 0 if the level was reached by the first step.
        high_N: upper ends; infinite if the level was not reached; equal to the lower end for a known time.
    """

    low_N: FLOAT
    high_N: FLOAT

    @property
    def known_N(self) -> NDArray[np.bool_]:
        """Times that are known."""
        known_N: NDArray[np.bool_] = self.low_N == self.high_N
        return known_N

    @property
    def ends(self) -> tuple[FLOAT, FLOAT]:
        """Natural logarithms of both ends."""
        with np.errstate(divide="ignore"):
            return np.log(self.low_N), np.log(self.high_N)

    def where(self, chosen_N: NDArray[np.bool_]) -> "Times":
        """Return some of the times."""
        return Times(self.low_N[chosen_N], self.high_N[chosen_N])


def fit_line(sizes_N: FLOAT, times: Times) -> tuple[Interval | None, str | None]:
    """Return the slope of ln tau against ln N with its 95 % interval, or None and the reason.

    Args:
        sizes_N: number of training rows of each run.
        times: of the runs.

    Example:
        >>> sizes = np.array([8.0, 16.0, 32.0, 64.0, 128.0])
        >>> taus = 10 * sizes  # in proportion to the size
        >>> slope, _ = fit_line(sizes, Times(taus, taus))
        >>> round(slope.value, 2)
        1.0
    """
    known = len(np.unique(sizes_N[times.known_N]))
    if known < LEAST_SIZES:
        return None, f"the time is known at {known} size{'' if known == 1 else 's'}, and {LEAST_SIZES} are needed"
    x_N = np.log(sizes_N)
    x_N = x_N - x_N.mean()
    limit = _limit(len(sizes_N), 2)
    low, high = -_STEEPEST, _STEEPEST
    for _ in range(3):  # each round refines the grid
        slope_B = np.linspace(low, high, _POINTS)
        profile_B = _profile(x_N, times, slope_B)
        inside = np.flatnonzero(2 * (profile_B.max() - profile_B) <= limit)
        if inside[0] == 0 or inside[-1] == _POINTS - 1:
            return None, "the times allow almost any slope"
        low, high = float(slope_B[inside[0] - 1]), float(slope_B[inside[-1] + 1])
    value = float(slope_B[profile_B.argmax()])
    return Interval(value, float(slope_B[inside[0]]), float(slope_B[inside[-1]])), None


def fit_bend(sizes_N: FLOAT, times: Times) -> dict[int, float] | None:
    """Return the exponents at the smallest and at the largest known size if they differ significantly, else None.

    The test compares a parabola with a line: its deviance must exceed that which the 95 % interval of one parameter
    allows. One exponent does not describe such times.

    Args:
        sizes_N: number of training rows of each run.
        times: of the runs; at least four sizes must have a known time.

    Example:
        >>> sizes = np.repeat([8.0, 16.0, 32.0, 64.0, 128.0], 3)
        >>> rises = np.exp(0.2 * np.log(sizes) ** 2) * np.tile([0.95, 1.0, 1.05], 5)
        >>> {size: round(exponent, 1) for size, exponent in fit_bend(sizes, Times(rises, rises)).items()}
        {8: 0.8, 128: 1.9}
        >>> fit_bend(sizes, Times(sizes, sizes)) is None
        True
    """
    known = np.unique(sizes_N[times.known_N])
    if len(known) <= LEAST_SIZES or len(sizes_N) <= LEAST_SIZES + 1:
        return None
    x_N = np.log(sizes_N)
    middle = x_N.mean()
    powers_NP = (x_N[:, None] - middle) ** np.arange(3)
    line, _ = _maximum(powers_NP[:, :2], times)
    parabola, (_, slope, bend) = _maximum(powers_NP, times)
    if 2 * (parabola - line) <= _limit(len(sizes_N), 3):
        return None
    return {int(size): float(slope + 2 * bend * (math.log(size) - middle)) for size in (known[0], known[-1])}


def _maximum(design_NP: FLOAT, times: Times) -> tuple[float, FLOAT]:
    """Return the largest log-likelihood with mu = design x parameters over all scales, and its parameters."""
    low_N, high_N = times.ends
    finite_N = np.where(np.isfinite(low_N), low_N, high_N)
    start_P = np.asarray(np.linalg.lstsq(design_NP, finite_N, rcond=None)[0], np.float64)
    results: list[tuple[float, FLOAT]] = []
    for scale in _SCALES:
        parameters_P = start_P
        for _ in range(_NEWTON_STEPS):
            low_z_N, high_z_N = ((end_N - design_NP @ parameters_P) / scale for end_N in (low_N, high_N))
            above_N, below_N = ((1 + np.tanh(z_N / 2)) / 2 for z_N in (low_z_N, -high_z_N))  # F(low), F(-high)
            curvature_N = above_N * (1 - above_N) + below_N * (1 - below_N)
            hessian_PP = (design_NP.T * curvature_N) @ design_NP / scale**2
            gradient_P = design_NP.T @ (above_N - below_N) / scale
            step_P = np.linalg.solve(hessian_PP + 1e-9 * np.eye(len(start_P)), gradient_P)
            parameters_P = parameters_P + step_P * min(1.0, 1.0 / max(float(abs(step_P).max()), 1e-9))
            if abs(step_P).max() < _CONVERGED:
                break
        best = float(-(np.logaddexp(0.0, -high_z_N) + np.logaddexp(0.0, low_z_N)).sum())
        results.append((best - float(times.known_N.sum()) * math.log(scale), parameters_P))
    return max(results, key=lambda result: result[0])


def fit_groups(group_N: NDArray[np.int64], times: Times) -> dict[int, Interval]:
    """Return the median of the times of each group in steps, with its 95 % interval; all groups share one scale.

    The value of a group without a known time is NaN. An end is 0 or infinite if it is not known. With one time for each
    group there is no interval: its ends are the time itself.

    Args:
        group_N: group of each time, such as its size.
        times: the times.
    """
    low_N, high_N = times.ends
    groups = [int(group) for group in np.unique(group_N)]
    members = {group: group_N == group for group in groups}
    finite = np.concatenate([low_N[np.isfinite(low_N)], high_N[np.isfinite(high_N)]])
    if len(groups) == len(group_N) or not len(finite):
        return {
            group: Interval(float(times.low_N[mine][0]) if times.known_N[mine].all() else math.nan, *_ends(times, mine))
            for group, mine in members.items()
        }
    place_A = np.linspace(finite.min() - 3.0, finite.max() + 3.0, 601)
    each = {group: _log_likelihood(times.where(mine), place_A[:, None]) for group, mine in members.items()}  # (S, A)
    best = {group: one.max(1) for group, one in each.items()}
    total_S = np.sum(list(best.values()), 0)
    limit, found = _limit(len(group_N), len(groups)), {}
    for group, one in each.items():
        profile_A = (one + (total_S - best[group])[:, None]).max(0)
        inside = np.flatnonzero(2 * (profile_A.max() - profile_A) <= limit)
        low = 0.0 if inside[0] == 0 else math.exp(place_A[inside[0]])
        high = math.inf if inside[-1] == len(place_A) - 1 else math.exp(place_A[inside[-1]])
        is_known = times.known_N[members[group]].any()
        found[group] = Interval(math.exp(place_A[profile_A.argmax()]) if is_known else math.nan, low, high)
    return found


def _ends(times: Times, mine: NDArray[np.bool_]) -> tuple[float, float]:
    return float(times.low_N[mine].min()), float(times.high_N[mine].max())


def _limit(number: int, parameters: int) -> float:
    """Return the deviance that the interval of one parameter allows."""
    df = max(number - parameters, 1)
    return number * math.log1p(student_t(df, _LEVEL) ** 2 / df)


def _log_likelihood(times: Times, mean_SAN: FLOAT) -> FLOAT:
    """Return the log-likelihood (S, A) of times whose places broadcast to (S, A, N), for each scale."""
    scale_S11 = _SCALES[:, None, None]
    low_SAN, high_SAN = ((end_N - mean_SAN) / scale_S11 for end_N in times.ends)
    sum_SA: FLOAT = -(np.logaddexp(0.0, -high_SAN) + np.logaddexp(0.0, low_SAN)).sum(-1)
    result_SA: FLOAT = sum_SA - times.known_N.sum() * np.log(_SCALES)[:, None]
    return result_SA


def _profile(x_N: FLOAT, times: Times, slope_B: FLOAT) -> FLOAT:
    """Return the largest log-likelihood over all places and scales for each slope (B,)."""
    low_BN, high_BN = (end_N - slope_B[:, None] * x_N for end_N in times.ends)
    finite = np.concatenate([low_BN[np.isfinite(low_BN)], high_BN[np.isfinite(high_BN)]])
    left_SB = np.full((len(_SCALES), len(slope_B)), finite.min() - 5.0)
    right_SB = np.full_like(left_SB, finite.max() + 5.0)
    for _ in range(_HALVINGS):  # the derivative falls with the place, so its zero is found by halving
        middle_SB = (left_SB + right_SB) / 2
        # of ln F(z) and of ln F(-z), apart from positive factors
        low_SBN, high_SBN = ((end_BN - middle_SB[..., None]) / _SCALES[:, None, None] for end_BN in (low_BN, high_BN))
        rises_SB = (np.tanh(low_SBN / 2) + np.tanh(high_SBN / 2)).sum(-1) > 0
        left_SB, right_SB = np.where(rises_SB, middle_SB, left_SB), np.where(rises_SB, right_SB, middle_SB)
    place_SBN = middle_SB[..., None] + slope_B[:, None] * x_N
    result_B: FLOAT = _log_likelihood(times, place_SBN).max(0)
    return result_B
