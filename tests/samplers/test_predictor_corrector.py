"""Gibbs updates against enumeration of every noisy row, and the chain that they belong to."""

import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import Joint, JointOracle, assert_frequencies, noise_law
from uddm_lightning.core.keyed_random import key
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.processes import AbsorbingProcess, HybridProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule
from uddm_lightning.samplers import AncestralSampler, PredictorCorrectorSampler
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.samplers.predictor_corrector import correct

V, L, T = 3, 3, 0.4


def world(kind: type[Process]) -> tuple[Joint, Denoiser, float]:
    process = kind(V, LogLinearSchedule())
    noise = (lambda alpha: noise_law(process, alpha)) if kind is HybridProcess else None
    joint = Joint(V, L, seed=4, mask=process.mask_id is not None, noise=noise)
    oracle = JointOracle(joint)
    alpha = float(process.level(torch.tensor(T, dtype=torch.float64)).alpha)
    return joint, Denoiser(process, oracle, Parameterization.LEAVE_ONE_OUT), alpha


def gibbs_kernel(joint: Joint, marginal_Y: Tensor) -> Tensor:
    """Return P(y' | y) of redrawing one random token from p(y_l | y without l), from the marginal alone."""
    Y, kernel_YY = len(marginal_Y), torch.zeros(len(marginal_Y), len(marginal_Y), dtype=torch.float64)
    for place in range(joint.L):
        others = [m for m in range(joint.L) if m != place]
        same_YY = (joint.noisy_YL[:, None, others] == joint.noisy_YL[None][..., others]).all(2)
        weight_YY = same_YY * marginal_Y
        kernel_YY += weight_YY / weight_YY.sum(1, keepdim=True) / joint.L
    assert kernel_YY.shape == (Y, Y)
    return kernel_YY


@pytest.mark.parametrize("kind", [UniformProcess, AbsorbingProcess, HybridProcess])
def test_an_update_leaves_the_distribution_at_t_unchanged(kind: type[Process]) -> None:
    """By enumeration, in float64: the law of an update is alpha p_l + (1 - alpha) pi, and the marginal is invariant."""
    joint, denoiser, alpha = world(kind)
    marginal_Y, law_S = joint.noisy(alpha).sum(0), noise_law(denoiser.process, alpha)
    kernel_YY = gibbs_kernel(joint, marginal_Y)
    torch.testing.assert_close(marginal_Y @ kernel_YY, marginal_Y, rtol=0, atol=1e-14)
    predicted_YLV = joint.leave_one_out(alpha)
    mine_YY = torch.zeros_like(kernel_YY)
    for place in range(L):
        for state in range(joint.S):
            changed_YL = joint.noisy_YL.clone()
            changed_YL[:, place] = state
            clean_Y = predicted_YLV[:, place, state] if state < V else torch.zeros(len(marginal_Y)).double()
            law_Y = (alpha * clean_Y + law_S[state]) / L
            mine_YY[torch.arange(len(marginal_Y)), joint.code(changed_YL, noisy=True)] += law_Y
    # `Joint` computes given noise in float32
    torch.testing.assert_close(mine_YY, kernel_YY, rtol=0, atol=1e-7 if kind is HybridProcess else 1e-12)


def redrawn(denoiser: Denoiser, rows_BL: Tensor, updates: int, t: float = T) -> Tensor:
    x_BL = rows_BL.clone()
    for number in range(updates):
        keys_B = key(5, number, torch.arange(len(x_BL)))
        correct(denoiser, x_BL, t, keys_B, torch.ones_like(x_BL, dtype=torch.bool))
    return x_BL


@pytest.mark.parametrize("kind", [UniformProcess, AbsorbingProcess])
def test_updates_are_drawn_from_the_enumerated_kernel(kind: type[Process]) -> None:
    joint, denoiser, alpha = world(kind)
    kernel_YY = gibbs_kernel(joint, joint.noisy(alpha).sum(0))
    draws, start = 20_000, len(kernel_YY) // 2
    end_BL = redrawn(denoiser, joint.noisy_YL[start].expand(draws, L), 1)
    counts_Y = torch.bincount(joint.code(end_BL, noisy=True), minlength=len(kernel_YY))
    assert_frequencies(counts_Y, kernel_YY[start])


def test_many_updates_lead_to_the_distribution_at_t_and_not_at_another_time() -> None:
    """From rows that are all alike."""
    joint, denoiser, alpha = world(UniformProcess)
    marginal_Y, rows_BL = joint.noisy(alpha).sum(0), torch.zeros(10_000, L, dtype=torch.int64)
    counts_Y = torch.bincount(joint.code(redrawn(denoiser, rows_BL, 40)), minlength=len(marginal_Y))
    assert_frequencies(counts_Y, marginal_Y)
    counts_Y = torch.bincount(joint.code(redrawn(denoiser, rows_BL, 40, t=1.1 * T)), minlength=len(marginal_Y))
    with pytest.raises(AssertionError, match="chi-square"):
        assert_frequencies(counts_Y, marginal_Y)


def test_only_free_tokens_are_redrawn() -> None:
    _, denoiser, _ = world(UniformProcess)
    x_BL = torch.zeros(300, L, dtype=torch.int64)
    free_BL = torch.tensor([False, True, False]).expand(300, L) & (torch.arange(300) < 200)[:, None]
    correct(denoiser, x_BL, T, torch.arange(300), free_BL)
    assert not x_BL[:, [0, 2]].any()
    assert not x_BL[200:].any()
    assert x_BL[:200, 1].any()


def test_corrections_bring_a_coarse_chain_nearer_to_the_text() -> None:
    """A chain of two steps changes many tokens at once, which are then independent of each other."""
    joint, denoiser, _ = world(UniformProcess)
    draws, distance = 20_000, {}
    noise_BL = joint.rows_XL[torch.arange(draws) % len(joint.rows_XL)]
    for sampler in (AncestralSampler(2), PredictorCorrectorSampler(2, corrections=12)):
        end_BL = sampler.sample(denoiser, noise_BL, torch.arange(draws))
        share_X = torch.bincount(joint.code(end_BL), minlength=len(joint.p_X)) / draws
        distance[sampler.name] = float((share_X - joint.p_X).abs().sum() / 2)
    assert distance["predictor-corrector-12"] < 0.7 * distance["ancestral"], distance


def test_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="`corrections` must be at least 1, got 0"):
        PredictorCorrectorSampler(corrections=0)
