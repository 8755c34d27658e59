"""The leave-one-out cross-entropy, compared with Bayes' rule and with the cross-entropy of masked tokens."""

import pytest
import torch

from tests.support.toy_worlds import TableBackbone, full
from uddm_lightning.core.batch import Noised, NoisyTokens
from uddm_lightning.objectives import DenoisingCrossEntropy, LeaveOneOutCrossEntropy
from uddm_lightning.processes import AbsorbingProcess, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

V, B, L = 5, 6, 7


def test_loss_is_the_negative_log_posterior(process: UniformProcess, noised: Noised) -> None:
    """Multiply each output probability by q(x_t | x_0), and normalise."""
    backbone = TableBackbone(V, L)
    ours = LeaveOneOutCrossEntropy()(process, backbone, noised).tokens_N.view(B, L)
    p = torch.softmax(backbone(noised.xt_BL, process.level(noised.t_B).sigma), -1)
    for row in range(B):
        alpha = noised.alpha_B[row]
        for place in range(L):
            joint = p[row, place] * (1 - alpha) / V
            joint[noised.xt_BL[row, place]] += p[row, place, noised.xt_BL[row, place]] * alpha
            expected = -torch.log(joint[noised.x0_BL[row, place]] / joint.sum())
            torch.testing.assert_close(ours[row, place], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1 - 1e-6, 1e-6])
def test_loss_and_gradient_are_finite_at_both_ends(alpha: float, dtype: torch.dtype, process: UniformProcess) -> None:
    logits = torch.linspace(-30, 30, 4 * V, dtype=dtype).view(4, V).requires_grad_()
    x0, xt = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 4, 2, 0])
    loss = LeaveOneOutCrossEntropy().token_loss(process, logits, NoisyTokens(x0, xt, full(alpha, 4), full(-1.0, 4)))
    assert loss.dtype == dtype
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_loss_of_a_mask_process_is_the_cross_entropy_of_masked_tokens(rng: torch.Generator) -> None:
    """The other tokens are visible and have no loss, whatever the network says there."""
    process = AbsorbingProcess(V, LogLinearSchedule())
    x0, xt = torch.tensor([0, 1, 2, 3]), torch.tensor([5, 1, 5, 3])
    logits = torch.randn(4, V + 1, generator=rng, dtype=torch.float64).requires_grad_()
    level = full(0.4, 4), full(-1.0, 4)
    loss = LeaveOneOutCrossEntropy().token_loss(process, logits, NoisyTokens(x0, xt, *level))
    expected = DenoisingCrossEntropy().token_loss(process, logits[:, :V], NoisyTokens(x0, xt, *level))
    torch.testing.assert_close(loss, expected * torch.tensor([1, 0, 1, 0]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient[[1, 3]] == 0).all()
    assert (gradient[[0, 2], :V] != 0).all()
