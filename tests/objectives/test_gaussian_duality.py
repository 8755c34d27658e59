"""The Gaussian noise behind the uniform process, against numerical integration, closed forms and brute force."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

from tests.support.toy_worlds import SMALLEST_P, assert_frequencies
from uddm_lightning.objectives.gaussian_duality import (
    TopValues,
    amplitudes,
    gamma_at,
    leaders,
    level,
    neglected,
    token_keys,
)

GAMMAS = (-6.0, -3.5, -2.6, -1.75, 0.0, 2.0, 5.0)


def at(*gammas: float) -> Tensor:
    return torch.tensor(gammas, dtype=torch.float64)


def integrated(gamma: float, V: int) -> float:
    """alpha from the density of the largest rival, by adaptive quadrature: x_0 wins where it lies above that."""
    mu = math.exp(-gamma / 2)

    def won(z: float) -> float:
        largest = (V - 1) * math.exp((V - 2) * special.log_ndtr(z) - 0.5 * z * z) / math.sqrt(2 * math.pi)
        return float(largest * special.ndtr(mu - z))

    top = special.ndtri(0.5 ** (1 / (V - 1)))
    won_in_all, _ = integrate.quad(won, -10, 12, points=[top - 0.3, top, top + 0.3], epsabs=1e-13, limit=400)
    return (V * won_in_all - 1) / (V - 1)


@pytest.mark.parametrize("V", [2, 3, 27, 4096, 30_522, 250_000])
def test_the_map_is_that_of_adaptive_integration(V: int) -> None:
    expected = [integrated(gamma, V) for gamma in GAMMAS]
    assert level(at(*GAMMAS), V).alpha.numpy() == pytest.approx(expected, abs=1e-9)


def test_two_ids_have_a_closed_form() -> None:
    gamma = torch.linspace(-6, 8, 50, dtype=torch.float64)
    mu = torch.exp(-gamma / 2)
    found = level(gamma, 2)
    torch.testing.assert_close(found.alpha, torch.erf(mu / 2), rtol=0, atol=1e-13)
    exact = -0.5 * mu * torch.exp(-mu.square() / 4) / math.sqrt(math.pi)
    torch.testing.assert_close(found.slope, exact, rtol=0, atol=1e-13)


def test_published_levels() -> None:
    """Of the range [-3.5, -1.75], for the vocabulary of the paper and for letters."""
    assert level(at(-3.5, -1.75), 30_522).alpha.tolist() == pytest.approx([0.942, 0.049], abs=5e-4)
    assert level(at(-3.5, -1.75), 27).alpha.tolist() == pytest.approx([0.999, 0.634], abs=5e-4)


@pytest.mark.parametrize("V", [3, 27, 30_522])
def test_slope_is_the_derivative(V: int) -> None:
    gamma = torch.linspace(-5, 3, 41, dtype=torch.float64).requires_grad_()
    found = level(gamma, V)
    (exact,) = torch.autograd.grad(found.alpha.sum(), gamma)  # under the integral, without integration by parts
    torch.testing.assert_close(found.slope, exact, rtol=0, atol=1e-9)
    with torch.no_grad():
        near, far = ((level(gamma + h, V).alpha - level(gamma - h, V).alpha) / (2 * h) for h in (1e-3, 2e-3))
    torch.testing.assert_close(found.slope.detach(), (4 * near - far) / 3, rtol=0, atol=1e-9)
    assert (found.slope < 0).all(), "more noise, less signal"


@pytest.mark.parametrize("V", [2, 27, 30_522])
@pytest.mark.parametrize("alpha", [1e-4, 0.049, 0.5, 0.942, 0.9999])
def test_a_level_is_found_again(V: int, alpha: float) -> None:
    assert float(level(at(gamma_at(alpha, V)), V).alpha) == pytest.approx(alpha, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_level_error(alpha: float) -> None:
    with pytest.raises(ValueError, match=rf"^`alpha` must lie strictly between 0 and 1, got {alpha}\.$"):
        gamma_at(alpha, 27)


def test_amplitudes_have_the_ratio_that_gamma_says() -> None:
    a, s = amplitudes(at(*GAMMAS))
    torch.testing.assert_close(a.square() + s.square(), torch.ones_like(a))
    torch.testing.assert_close(torch.log(s.square() / a.square()), at(*GAMMAS))


def dense(V: int, gamma: float, draws: int, seed: int = 0) -> Tensor:
    """w_t of x_0 = 2 in all V coordinates, (draws, V), from ordinary random numbers."""
    a, s = amplitudes(at(gamma))
    noise = torch.randn(draws, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.one_hot(torch.tensor(2), V) * a + s * noise


def drawn(V: int, gamma: float, draws: int, kept: int) -> TopValues:
    keys = token_keys(torch.arange(draws), 1)[:, 0]
    return leaders(torch.full((draws,), 2), at(gamma).expand(draws), keys, V, kept)


def uniform_law(V: int, gamma: float) -> Tensor:
    alpha = integrated(gamma, V)
    law = torch.full((V,), (1 - alpha) / V, dtype=torch.float64)
    law[2] += alpha
    return law


@pytest.mark.parametrize("gamma", [-2.0, 0.5])
def test_the_argmax_of_gaussian_noise_is_the_uniform_process(gamma: float) -> None:
    counts = dense(6, gamma, 100_000).argmax(1).bincount(minlength=6)
    assert_frequencies(counts, uniform_law(6, gamma))


@pytest.mark.parametrize("kept", [2, 3, 6, 9])
@pytest.mark.parametrize("gamma", [-2.0, 0.5])
def test_the_largest_kept_id_is_a_draw_of_the_uniform_process(gamma: float, kept: int) -> None:
    found = drawn(6, gamma, 100_000, kept)
    assert found.ids.shape == found.values.shape == (100_000, min(kept, 6))
    assert_frequencies(found.argmax.bincount(minlength=6), uniform_law(6, gamma))


@pytest.mark.parametrize("V", [5, 300])
def test_rivals_are_the_largest_of_all_numbers(V: int) -> None:
    """Each one, and the gaps between them, against sorted ordinary random numbers."""
    few, gamma, draws = 5, 1.0, 20_000
    found = drawn(V, gamma, draws, few).values
    w = dense(V, gamma, draws)
    rivals = w[:, [v for v in range(V) if v != 2]].sort(1, descending=True).values[:, : few - 1]
    expected = torch.cat([w[:, 2:3], rivals], 1)
    assert (found[:, 1:].diff(dim=1) < 0).all()
    for ours, theirs in (
        (found, expected),
        (found[:, 1:].diff(dim=1), expected[:, 1:].diff(dim=1)),
        (found[:, 1:].sum(1, keepdim=True), expected[:, 1:].sum(1, keepdim=True)),
    ):
        for one, other in zip(ours.T, theirs.T, strict=True):
            assert stats.ks_2samp(one.numpy(), other.numpy()).pvalue > SMALLEST_P
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 4 / math.sqrt(draws)


def test_rivals_belong_to_any_ids_in_any_order() -> None:
    found = drawn(5, -1.0, 60_000, 4).ids
    assert (found[:, 0] == 2).all()
    orders = list(permutations([0, 1, 3, 4], 3))
    code = (found[:, 1:] * torch.tensor([25, 5, 1])).sum(1)
    counts = torch.tensor([int((code == 25 * a + 5 * b + c).sum()) for a, b, c in orders])
    assert counts.sum() == 60_000
    assert_frequencies(counts, torch.ones(len(orders)))


def test_a_token_does_not_depend_on_its_batch() -> None:
    x0, gamma = torch.arange(40).view(8, 5), torch.linspace(-3, 0, 8, dtype=torch.float64)[:, None]
    keys = token_keys(torch.arange(8), 5)
    whole = leaders(x0, gamma, keys, 1000, 6)
    assert torch.equal(whole.ids.sort(-1).values.diff(dim=-1) > 0, torch.ones(8, 5, 5).bool()), "no id comes twice"
    for i in range(8):
        part = leaders(x0[i : i + 1], gamma[i : i + 1], keys[i : i + 1], 1000, 6)
        assert torch.equal(part.ids[0], whole.ids[i])
        assert torch.equal(part.values[0], whole.values[i])


@pytest.mark.parametrize(("V", "kept", "gamma", "tau"), [(200, 6, -2.8, 0.02), (60, 3, -1.0, 0.05), (60, 4, 0.0, 0.5)])
def test_what_is_dropped_is_bounded(V: int, kept: int, gamma: float, tau: float) -> None:
    """Against the softmax over everything; and it is no more than the sum that it bounds asks for."""
    w = dense(V, gamma, 20_000)
    rivals = w[:, [v for v in range(V) if v != 2]].sort(1, descending=True).values
    share = torch.softmax(torch.cat([w[:, 2:3], rivals], 1) / tau, 1)[:, kept:].sum(1).mean()
    among_rivals = torch.exp((rivals[:, kept - 1 :] - rivals[:, :1]) / tau).sum(1).mean()
    bound = neglected(gamma, tau, V, kept)
    assert float(share) < float(among_rivals) < bound < 10 * float(among_rivals)
    assert neglected(gamma + 0.5, tau, V, kept) < bound
    assert neglected(gamma, tau / 2, V, kept) < bound
    assert neglected(gamma, tau, V, kept + 1) < bound


def test_nothing_is_dropped_where_everything_is_kept() -> None:
    assert neglected(-3.0, 1e30, 8, 8) == 0.0
    assert neglected(-3.0, 1e30, 8, 9) == 0.0


@pytest.mark.parametrize("V", [27, 4096, 30_522, 250_000])
def test_eight_ids_are_enough_for_the_paper(V: int) -> None:
    assert neglected(gamma_at(0.942, V), 1e-3, V, 8) < 1e-6
