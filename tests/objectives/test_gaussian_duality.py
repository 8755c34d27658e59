"""Gaussian process whose argmax is the uniform process, compared with integration, closed forms and dense draws."""

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
    dropped_weight_bound,
    gamma_from_alpha,
    gaussian_keys,
    noise_level,
    sample_top_values,
)

GAMMAS = (-6.0, -3.5, -2.6, -1.75, 0.0, 2.0, 5.0)


def double(*gammas: float) -> Tensor:
    return torch.tensor(gammas, dtype=torch.float64)


def integrated(gamma: float, V: int) -> float:
    """Return alpha from the density of the largest other coordinate, by adaptive quadrature."""
    mu = math.exp(-gamma / 2)

    def integrand(z: float) -> float:
        largest = (V - 1) * math.exp((V - 2) * special.log_ndtr(z) - 0.5 * z * z) / math.sqrt(2 * math.pi)
        return float(largest * special.ndtr(mu - z))

    top = special.ndtri(0.5 ** (1 / (V - 1)))
    probability, _ = integrate.quad(integrand, -10, 12, points=[top - 0.3, top, top + 0.3], epsabs=1e-13, limit=400)
    return (V * probability - 1) / (V - 1)


@pytest.mark.parametrize("V", [2, 3, 27, 4096, 30_522, 250_000])
def test_alpha_equals_adaptive_integration(V: int) -> None:
    expected = [integrated(gamma, V) for gamma in GAMMAS]
    assert noise_level(double(*GAMMAS), V).alpha.numpy() == pytest.approx(expected, abs=1e-9)


def test_closed_form_for_two_ids() -> None:
    gamma = torch.linspace(-6, 8, 50, dtype=torch.float64)
    mu = torch.exp(-gamma / 2)
    found = noise_level(gamma, 2)
    torch.testing.assert_close(found.alpha, torch.erf(mu / 2), rtol=0, atol=1e-13)
    exact = -0.5 * mu * torch.exp(-mu.square() / 4) / math.sqrt(math.pi)
    torch.testing.assert_close(found.slope, exact, rtol=0, atol=1e-13)


def test_published_levels() -> None:
    """Test the levels of gamma in [-3.5, -1.75] for the vocabulary of the paper and for characters."""
    assert noise_level(double(-3.5, -1.75), 30_522).alpha.tolist() == pytest.approx([0.942, 0.049], abs=5e-4)
    assert noise_level(double(-3.5, -1.75), 27).alpha.tolist() == pytest.approx([0.999, 0.634], abs=5e-4)


@pytest.mark.parametrize("V", [3, 27, 30_522])
def test_slope_is_the_derivative(V: int) -> None:
    gamma = torch.linspace(-5, 3, 41, dtype=torch.float64).requires_grad_()
    found = noise_level(gamma, V)
    (exact,) = torch.autograd.grad(found.alpha.sum(), gamma)  # differentiates under the integral
    torch.testing.assert_close(found.slope, exact, rtol=0, atol=1e-9)
    with torch.no_grad():
        near, far = (
            (noise_level(gamma + h, V).alpha - noise_level(gamma - h, V).alpha) / (2 * h) for h in (1e-3, 2e-3)
        )
    torch.testing.assert_close(found.slope.detach(), (4 * near - far) / 3, rtol=0, atol=1e-9)
    assert (found.slope < 0).all(), "alpha must decrease with gamma"


@pytest.mark.parametrize("V", [2, 27, 30_522])
@pytest.mark.parametrize("alpha", [1e-4, 0.049, 0.5, 0.942, 0.9999])
def test_gamma_from_alpha_inverts_noise_level(V: int, alpha: float) -> None:
    assert float(noise_level(double(gamma_from_alpha(alpha, V)), V).alpha) == pytest.approx(alpha, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_gamma_from_alpha_error(alpha: float) -> None:
    with pytest.raises(ValueError, match=rf"^`alpha` must be in \(0, 1\), got {alpha}\.$"):
        gamma_from_alpha(alpha, 27)


def test_ratio_of_amplitudes() -> None:
    a, s = amplitudes(double(*GAMMAS))
    torch.testing.assert_close(a.square() + s.square(), torch.ones_like(a))
    torch.testing.assert_close(torch.log(s.square() / a.square()), double(*GAMMAS))


def draw_dense(V: int, gamma: float, draws: int, seed: int = 0) -> Tensor:
    """Draw all V coordinates of w_t for x_0 = 2, (draws, V)."""
    a, s = amplitudes(double(gamma))
    noise = torch.randn(draws, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.one_hot(torch.tensor(2), V) * a + s * noise


def draw_top_values(V: int, gamma: float, draws: int, top_k: int) -> TopValues:
    keys = gaussian_keys(torch.arange(draws), 1)[:, 0]
    return sample_top_values(torch.full((draws,), 2), double(gamma).expand(draws), keys, V, top_k)


def uniform_distribution(V: int, gamma: float) -> Tensor:
    alpha = integrated(gamma, V)
    law = torch.full((V,), (1 - alpha) / V, dtype=torch.float64)
    law[2] += alpha
    return law


@pytest.mark.parametrize("gamma", [-2.0, 0.5])
def test_argmax_of_gaussian_noise_follows_the_uniform_process(gamma: float) -> None:
    counts = draw_dense(6, gamma, 100_000).argmax(1).bincount(minlength=6)
    assert_frequencies(counts, uniform_distribution(6, gamma))


@pytest.mark.parametrize("top_k", [2, 3, 6, 9])
@pytest.mark.parametrize("gamma", [-2.0, 0.5])
def test_argmax_of_top_values_follows_the_uniform_process(gamma: float, top_k: int) -> None:
    found = draw_top_values(6, gamma, 100_000, top_k)
    assert found.ids.shape == found.values.shape == (100_000, min(top_k, 6))
    assert_frequencies(found.argmax.bincount(minlength=6), uniform_distribution(6, gamma))


@pytest.mark.parametrize("V", [5, 300])
def test_top_values_are_order_statistics(V: int) -> None:
    """Compare each value, the gaps and the sum with sorted dense draws."""
    top_k, gamma, draws = 5, 1.0, 20_000
    found = draw_top_values(V, gamma, draws, top_k).values
    w = draw_dense(V, gamma, draws)
    others = w[:, [v for v in range(V) if v != 2]].sort(1, descending=True).values[:, : top_k - 1]
    expected = torch.cat([w[:, 2:3], others], 1)
    assert (found[:, 1:].diff(dim=1) < 0).all()
    for ours, theirs in (
        (found, expected),
        (found[:, 1:].diff(dim=1), expected[:, 1:].diff(dim=1)),
        (found[:, 1:].sum(1, keepdim=True), expected[:, 1:].sum(1, keepdim=True)),
    ):
        for one, other in zip(ours.T, theirs.T, strict=True):
            assert stats.ks_2samp(one.numpy(), other.numpy()).pvalue > SMALLEST_P
    assert abs(np.corrcoef(found[:, 0], found[:, 1])[0, 1]) < 4 / math.sqrt(draws)


def test_ids_of_top_values_are_uniform() -> None:
    found = draw_top_values(5, -1.0, 60_000, 4).ids
    assert (found[:, 0] == 2).all()
    orders = list(permutations([0, 1, 3, 4], 3))
    code = (found[:, 1:] * torch.tensor([25, 5, 1])).sum(1)
    counts = torch.tensor([int((code == 25 * a + 5 * b + c).sum()) for a, b, c in orders])
    assert counts.sum() == 60_000
    assert_frequencies(counts, torch.ones(len(orders)))


def test_token_does_not_depend_on_its_batch() -> None:
    x0, gamma = torch.arange(40).view(8, 5), torch.linspace(-3, 0, 8, dtype=torch.float64)[:, None]
    keys = gaussian_keys(torch.arange(8), 5)
    whole = sample_top_values(x0, gamma, keys, 1000, 6)
    assert torch.equal(whole.ids.sort(-1).values.diff(dim=-1) > 0, torch.ones(8, 5, 5).bool()), "ids must be distinct"
    for i in range(8):
        part = sample_top_values(x0[i : i + 1], gamma[i : i + 1], keys[i : i + 1], 1000, 6)
        assert torch.equal(part.ids[0], whole.ids[i])
        assert torch.equal(part.values[0], whole.values[i])


@pytest.mark.parametrize(("V", "top_k", "gamma", "tau"), [(200, 6, -2.8, 0.02), (60, 3, -1.0, 0.05), (60, 4, 0.0, 0.5)])
def test_dropped_weight_bound(V: int, top_k: int, gamma: float, tau: float) -> None:
    """The bound is above the dropped softmax weight, and at most 10 times the sum that it bounds."""
    w = draw_dense(V, gamma, 20_000)
    others = w[:, [v for v in range(V) if v != 2]].sort(1, descending=True).values
    share = torch.softmax(torch.cat([w[:, 2:3], others], 1) / tau, 1)[:, top_k:].sum(1).mean()
    bounded_sum = torch.exp((others[:, top_k - 1 :] - others[:, :1]) / tau).sum(1).mean()
    bound = dropped_weight_bound(gamma, tau, V, top_k)
    assert float(share) < float(bounded_sum) < bound < 10 * float(bounded_sum)
    assert dropped_weight_bound(gamma + 0.5, tau, V, top_k) < bound
    assert dropped_weight_bound(gamma, tau / 2, V, top_k) < bound
    assert dropped_weight_bound(gamma, tau, V, top_k + 1) < bound


def test_dropped_weight_is_zero_if_all_ids_are_kept() -> None:
    assert dropped_weight_bound(-3.0, 1e30, 8, 8) == 0.0
    assert dropped_weight_bound(-3.0, 1e30, 8, 9) == 0.0


@pytest.mark.parametrize("V", [27, 4096, 30_522, 250_000])
def test_eight_ids_suffice_for_the_settings_of_the_paper(V: int) -> None:
    assert dropped_weight_bound(gamma_from_alpha(0.942, V), 1e-3, V, 8) < 1e-6
