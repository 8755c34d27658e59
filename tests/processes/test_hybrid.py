"""Hybrid process, compared with the formulas of GIDD at a time found by search, and with enumeration."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import (
    Joint,
    assert_frequencies,
    expected_nelbo,
    full,
    hybrid_noise,
    random_logp,
)
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import (
    NELBO,
    DenoisingCrossEntropy,
    LeaveOneOutCrossEntropy,
    Objective,
    ReweightedNELBO,
)
from uddm_lightning.processes import HybridProcess
from uddm_lightning.processes.schedules import CosineSchedule, LogLinearSchedule, Schedule

P_UNIFORM = [0.0, 0.1, 0.6]
OBJECTIVES = [NELBO(), DenoisingCrossEntropy(), LeaveOneOutCrossEntropy(), ReweightedNELBO()]
TIMES = [1e-3, 0.2, 0.7, 0.99]


def make_process(V: int, p_uniform: float = 0.1, schedule: Schedule | None = None) -> HybridProcess:
    return HybridProcess(V, schedule or LogLinearSchedule(1e-9), p_uniform)


def make_joint(process: HybridProcess, L: int = 2, seed: int = 6) -> Joint:
    V, p_uniform = process.vocab_size, max(process.p_uniform, math.exp(-20))
    return Joint(V, L, seed, mask=True, noise=lambda alpha: hybrid_noise(alpha, V, p_uniform))


def formula(t: float, V: int, p_uniform: float) -> tuple[float, Tensor]:
    """Return alpha_t and beta_t pi_t (V + 1,) as the paper writes them."""
    B = 2 * p_uniform / (1 - p_uniform)
    c = B * math.sqrt(t * (1 - t))
    return (1 - t) / (1 + c), torch.tensor([c / V] * V + [t], dtype=torch.float64) / (1 + c)


# ---------------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("p_uniform", [0.1, 0.6])
def test_levels_and_noise_are_those_of_the_paper(t: float, p_uniform: float) -> None:
    V, width = 5, 1e-6 * min(t, 1 - t)
    process = make_process(V, p_uniform)
    level = process.level(torch.tensor(t, dtype=torch.float64))
    alpha, noise = formula(t, V, p_uniform)
    assert float(level.alpha) == pytest.approx(alpha, rel=1e-7)
    slope = (formula(t + width, V, p_uniform)[0] - formula(t - width, V, p_uniform)[0]) / (2 * width)
    assert float(level.slope) == pytest.approx(slope, rel=1e-6)
    mass = process.noise_mass(level.alpha)
    assert float(mass.mask) == pytest.approx(float(noise[V]), rel=1e-6)
    assert float(mass.uniform) == pytest.approx(float(noise[:V].sum()), rel=1e-6)
    assert float(process.noise_input(level.alpha)) == pytest.approx(t, rel=1e-6)
    changed = 1 - alpha - float(noise[0])
    assert float(process.change_probability(level.alpha)) == pytest.approx(changed, rel=1e-6)


def test_at_half_time_a_fraction_p_u_of_the_tokens_is_uniform_noise() -> None:
    for p_uniform in (0.1, 0.6):
        mass = make_process(7, p_uniform).noise_mass(torch.tensor(formula(0.5, 7, p_uniform)[0], dtype=torch.float64))
        assert float(mass.uniform) == pytest.approx(p_uniform, rel=1e-9)


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_corrupt_draws_the_marginals(t: float) -> None:
    V, rows, L = 4, 4000, 20
    x0 = torch.arange(V).repeat(rows * L // V).view(rows, L)
    xt = make_process(V, 0.6).corrupt(x0, full(t, rows), torch.arange(rows)).xt_BL
    alpha, noise = formula(t, V, 0.6)
    for start in range(V):
        law = noise + alpha * torch.eye(V + 1, dtype=torch.float64)[start]
        assert_frequencies(torch.bincount(xt[x0 == start], minlength=V + 1), law)


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_range_of_p_uniform(value: float) -> None:
    with pytest.raises(ValueError, match=r"^`p_uniform` must be in \[0, 1\), got"):
        make_process(3, value)


# ------------------------------------------------------------------------------------------------ meaning of the output


@pytest.mark.parametrize("t", [0.2, 0.7])
@pytest.mark.parametrize("p_uniform", [0.1, 0.3])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_loss_is_minimal_at_its_parameterization_only(objective: Objective, p_uniform: float, t: float) -> None:
    """The NELBO learns the leave-one-out prediction, cross-entropy the posterior, the loss of GIDD neither of them."""
    process = make_process(3, p_uniform)
    joint = make_joint(process, L=3)
    level = process.level(torch.tensor(t, dtype=torch.float64))
    alpha = float(level.alpha)
    noise_V1 = formula(t, 3, p_uniform)[1]
    own_weight = min(1.0, 2 * p_uniform / (1 - p_uniform) / 3 * math.sqrt((1 - alpha) / alpha))
    own = torch.nn.functional.one_hot(joint.noisy_YL, 4)[..., :3]
    leave_one_out, posterior = joint.leave_one_out(alpha), joint.posterior(alpha)
    tilted = leave_one_out.log() + own * math.log(own_weight * (alpha + float(noise_V1[0])) / float(noise_V1[0]))
    tables = {
        Parameterization.LEAVE_ONE_OUT: leave_one_out.log(),
        Parameterization.POSTERIOR: posterior.log(),
        Parameterization.REWEIGHTED: tilted,
    }
    shape = _, Y, L = len(joint.rows_XL), len(joint.noisy_YL), 3
    weight = joint.noisy(alpha)[..., None]

    def gradient(table_YLV: Tensor) -> float:
        # cross-entropy learns that x_0 is never the mask; in the other losses its logit has no effect
        of_mask = -80.0 if isinstance(objective, DenoisingCrossEntropy) else 3.0
        logits = torch.nn.functional.pad(table_YLV, (0, 1), value=of_mask).requires_grad_()
        loss = objective.token_loss(process, logits.expand(*shape, 4).reshape(-1, 4), joint.pairs(level))
        (found,) = torch.autograd.grad((weight * loss.view(shape)).sum(), logits)
        return float(found.abs().max())

    for meaning, table in tables.items():
        assert (gradient(table) < 1e-9) == (meaning is objective.parameterization), meaning
        xt_N, alpha_N = joint.noisy_YL.flatten(), level.alpha.expand(Y * L)
        converted = process.leave_one_out(table.reshape(-1, 3), xt_N, alpha_N, meaning).view(Y, L, 3)
        torch.testing.assert_close(converted.exp(), leave_one_out, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("t", [0.02, 0.3, 0.8])
def test_the_odds_of_a_network_of_gidd_are_near_leave_one_out(t: float) -> None:
    """In a large vocabulary their factor is sqrt(1 + c_t / t): 1.1 at t = 1/2 and p_u = 0.1, where the posterior's is
    10^5."""
    V, p_uniform = 50_000, 0.1
    process = make_process(V, p_uniform)
    alpha_N = torch.tensor([formula(t, V, p_uniform)[0]], dtype=torch.float64)
    zero_NV, xt_N = torch.zeros(1, V + 1, dtype=torch.float64), torch.tensor([7])
    factor = torch.exp(-process.leave_one_out_logits(zero_NV, xt_N, alpha_N, Parameterization.REWEIGHTED)[0, 7])
    c = 2 * p_uniform / (1 - p_uniform) * math.sqrt(t * (1 - t))
    assert float(factor) == pytest.approx(math.sqrt(1 + c / t), rel=1e-3)


# ------------------------------------------------------------------------------------------------------- likelihood


@pytest.mark.parametrize("schedule", [LogLinearSchedule(), CosineSchedule()])
@pytest.mark.parametrize("p_uniform", [0.1, 0.6])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_nelbo_is_the_limit_of_discrete_time(
    t: float, p_uniform: float, schedule: Schedule, rng: torch.Generator
) -> None:
    """KL( q(x_s | x_t, x_0) || q(x_s | x_t, p) ) / (t - s) for s -> t, both by Bayes along the chain."""
    V = 3
    process = make_process(V, p_uniform, schedule)
    p_V = random_logp(rng, 1, V)[0].exp()

    def bayes(p_V: Tensor, xt: int, early: float, late: float) -> Tensor:
        before_S, after_S = hybrid_noise(early, V, p_uniform), hybrid_noise(late, V, p_uniform)
        at_s_S = early * torch.nn.functional.pad(p_V, (0, 1)) + before_S
        into = (after_S - late / early * before_S)[xt]
        seen_S = at_s_S * (into + late / early * torch.eye(V + 1, dtype=torch.float64)[xt])
        return seen_S / seen_S.sum()

    for x0, xt in ((0, V), (1, 1), (2, 0)):
        truth_V = torch.eye(V, dtype=torch.float64)[x0]

        def rate(width: float, truth_V: Tensor = truth_V, xt: int = xt) -> float:
            late, early = (float(process.level(torch.tensor(v, dtype=torch.float64)).alpha) for v in (t, t - width))
            q, guess = bayes(truth_V, xt, early, late), bayes(p_V, xt, early, late)
            return float(torch.special.xlogy(q, q / guess).sum()) / width

        level = process.level(torch.tensor([t], dtype=torch.float64))
        exact = process.nelbo(p_V.log()[None], NoisyTokens(torch.tensor([x0]), torch.tensor([xt]), *level))
        assert 2 * rate(1e-4) - rate(2e-4) == pytest.approx(float(exact), rel=1e-3)


@pytest.mark.parametrize("p_uniform", P_UNIFORM)
def test_the_bound_of_the_exact_prediction_is_the_entropy_of_the_text(p_uniform: float) -> None:
    process = make_process(3, p_uniform)
    joint = make_joint(process)
    # t = sin^2 x makes sqrt(t (1 - t)) smooth; the NELBO is extremely concentrated near t = 0
    edges = [*np.geomspace(1e-7, 1.0, 8), *np.linspace(1.0, math.pi / 2 - 1e-5, 4)[1:]]
    nodes, weights = np.polynomial.legendre.leggauss(12)
    bound = 0.0
    for low, high in pairwise(edges):
        for node, weight in zip(nodes, weights, strict=True):
            x = float(0.5 * (high - low) * node + 0.5 * (high + low))
            t = math.sin(x) ** 2
            alpha = float(process.level(torch.tensor(t, dtype=torch.float64)).alpha)
            value = expected_nelbo(process, joint, joint.leave_one_out(alpha).log(), t)
            bound += 0.5 * (high - low) * float(weight) * value * math.sin(2 * x)
    assert bound == pytest.approx(joint.entropy, abs=2e-5)


def test_the_bound_of_the_posterior_is_larger() -> None:
    process = make_process(3, 0.6)
    joint = make_joint(process)
    alpha = float(process.level(torch.tensor(0.3, dtype=torch.float64)).alpha)
    exact, other = (
        expected_nelbo(process, joint, table.log(), 0.3)
        for table in (joint.leave_one_out(alpha), joint.posterior(alpha))
    )
    assert other > exact + 0.01


def test_chance_and_bayes_argmax_are_sums_over_clean_ids() -> None:
    V, alpha = 4, formula(0.4, 4, 0.6)[0]
    process, f = make_process(V, 0.6), torch.softmax(torch.arange(V, dtype=torch.float64) / 2, 0)
    kernel = alpha * torch.eye(V, V + 1, dtype=torch.float64) + hybrid_noise(alpha, V, 0.6)
    joint = f[:, None] * kernel
    x0, xt = torch.arange(V).repeat_interleave(V + 1), torch.arange(V + 1).repeat(V)
    torch.testing.assert_close(process.chance(x0, xt, full(alpha, len(x0)), f), (joint / joint.sum(0)).flatten())
    wrong = joint.clone().fill_diagonal_(0.0)
    best = (wrong / wrong.sum(0)).amax(0)
    logits = f.log().expand(V + 1, V)
    torch.testing.assert_close(process.bayes_argmax(logits, torch.arange(V + 1)), best)
