"""Chunked loss and gradients equal unchunked ones, and the gradient in closed form equals autograd."""

import shutil

import pytest
import torch
from torch import Tensor

from tests.support.toy_worlds import Joint, JointOracle
from uddm_lightning.backbones import DiT, chunks
from uddm_lightning.backbones.chunked_head import head_loss, head_parameters
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.gradients import LossAndGradient, loss_and_gradient_by_autograd
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.objectives import NELBO, DenoisingCrossEntropy, Objective
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

V, L = 31, 7  # 31 is prime, so chunks do not divide the batch evenly
TIMES = (1e-5, 1e-3, 0.3, 1.0)


def network(dtype: torch.dtype) -> DiT:
    torch.manual_seed(0)
    net = DiT(V, hidden_size=16, n_blocks=1, n_heads=2, cond_dim=8, dropout=0.0, gate_init=1.0).to(dtype)
    torch.nn.init.normal_(net.output_layer.linear.weight)
    return net


def loss_and_gradients(
    objective: Objective, dtype: torch.dtype, rows: int, padded: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Return the losses of the tokens and the gradients of 3 times their mean."""
    process, net = UniformProcess(V, LogLinearSchedule()), network(dtype)
    text = torch.randint(V, (rows, L), generator=torch.Generator().manual_seed(1))
    valid = torch.arange(L) < (torch.arange(rows) % (L + 1))[:, None] if padded else None
    t_B = torch.linspace(0.05, 1.0, rows, dtype=torch.float64)
    total, losses_N = objective(process, net, process.corrupt(text, t_B, torch.arange(rows), valid))
    (3 * total).backward()
    assert total.item() == pytest.approx(losses_N.mean().item(), rel=1e-6)
    return losses_N, [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("objective", [NELBO(), DenoisingCrossEntropy()], ids=["nelbo", "cross-entropy"])
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("padded", [False, True])
def test_chunks_do_not_change_loss_or_gradients(monkeypatch, objective, dtype, tolerance, rows, padded):
    whole, gradients = loss_and_gradients(objective, dtype, rows, padded)
    assert len(gradients) == len(list(network(dtype).parameters()))
    for size in (1, 2, 5):
        monkeypatch.setattr(chunks, "CPU_ELEMENTS", size * V + 3)
        parts, others = loss_and_gradients(objective, dtype, rows, padded)
        torch.testing.assert_close(parts, whole, rtol=tolerance, atol=tolerance)
        for one, other in zip(gradients, others, strict=True):
            assert (one - other).abs().max() <= tolerance * one.abs().max().clamp(min=1e-3)


def test_at_most_one_chunk_of_logits_is_computed_at_a_time(monkeypatch):
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", 5 * V)
    seen = []
    original = DiT.head
    monkeypatch.setattr(DiT, "head", lambda self, hidden: (seen.append(len(hidden)), original(self, hidden))[1])
    loss_and_gradients(NELBO(), torch.float64, rows=9)
    assert max(seen) == 5
    assert sum(seen) == 9 * L + 1, "one token is used to find the parameters of the head"


def test_parameters_of_the_head_are_found_once() -> None:
    net = network(torch.float32)
    calls = []
    head = net.head
    net.head = lambda hidden: (calls.append(len(hidden)), head(hidden))[1]
    for _ in range(3):
        head_parameters(net, torch.zeros(3, 16))
    assert calls == [1]


def test_head_parameters() -> None:
    net = network(torch.float32)
    found = head_parameters(net, torch.zeros(3, 16))
    assert {id(parameter) for parameter in found} == {
        id(parameter) for parameter in net.output_layer.linear.parameters()
    }
    net.requires_grad_(False)
    assert head_parameters(net, torch.zeros(3, 16)) == []
    net.output_layer.linear.bias.requires_grad_()
    assert [id(parameter) for parameter in head_parameters(net, torch.zeros(3, 16))] == [
        id(net.output_layer.linear.bias)
    ]
    frozen = network(torch.float32).requires_grad_(False)
    assert head_parameters(frozen, torch.zeros(3, 16)) == []
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert len(head_parameters(frozen.requires_grad_(), torch.zeros(3, 16))) == 2
    net.output_layer.linear.weight = torch.nn.Parameter(torch.zeros(V, 16))
    assert any(parameter is net.output_layer.linear.weight for parameter in head_parameters(net, torch.zeros(3, 16)))


def squares(logits_CV: Tensor, chunk: slice, weight: float | None) -> LossAndGradient:
    weight_C = None if weight is None else torch.full((len(logits_CV),), weight, dtype=logits_CV.dtype)
    return loss_and_gradient_by_autograd(lambda values: values.square().sum(1), logits_CV, weight_C)


@pytest.mark.parametrize("elements", [6, 100])
def test_loss_of_a_head_without_parameters(monkeypatch, elements) -> None:
    """The head of an oracle is the identity."""
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", elements)
    hidden = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    before = hidden.detach().clone()
    total, losses = head_loss(JointOracle(Joint(3, 2, seed=0)), hidden, 0.5, squares)
    total.backward()
    torch.testing.assert_close(losses, hidden.detach().square().sum(1))
    torch.testing.assert_close(hidden.grad, hidden.detach())
    assert hidden.equal(before)


def test_loss_without_gradients(monkeypatch) -> None:
    whole, _ = loss_and_gradients(NELBO(), torch.float64, rows=3)
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", 2 * V)
    with torch.no_grad():
        process = UniformProcess(V, LogLinearSchedule())
        text = torch.randint(V, (3, L), generator=torch.Generator().manual_seed(1))
        t_B = torch.linspace(0.05, 1.0, 3, dtype=torch.float64)
        total, losses = NELBO()(process, network(torch.float64), process.corrupt(text, t_B, torch.arange(3)))
    torch.testing.assert_close(losses, whole)
    assert not total.requires_grad


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_closed_form_gradient_equals_autograd(t, dtype, tolerance):
    process, generator = UniformProcess(V, LogLinearSchedule()), torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(40, V, generator=generator, dtype=torch.float64)
    x0 = torch.randint(V, (40,), generator=generator)
    xt = torch.where(torch.arange(40) % 2 == 0, x0, torch.randint(V, (40,), generator=generator))
    level = process.level(torch.full((40,), t, dtype=torch.float64))
    weight = torch.linspace(-1, 2, 40, dtype=torch.float64)

    plain = logits.clone().requires_grad_()
    exact = process.nelbo(torch.log_softmax(plain, 1), NoisyTokens(x0, xt, level.alpha, level.slope))
    (gradient,) = torch.autograd.grad((exact * weight).sum(), plain)
    ours = logits.to(dtype).requires_grad_()
    loss = process.nelbo_from_logits(
        ours, NoisyTokens(x0, xt, level.alpha, level.slope), Parameterization.LEAVE_ONE_OUT
    )
    (closed,) = torch.autograd.grad((loss * weight.to(dtype)).sum(), ours)
    assert loss.dtype == closed.dtype == dtype
    # terms of size slope / alpha cancel in the loss
    terms = (level.slope / level.alpha).abs().max() if t == 1.0 else exact.abs().max()
    assert (loss - exact).abs().max() <= tolerance * terms
    assert (closed - gradient).abs().max() <= tolerance * gradient.abs().max()


@pytest.mark.parametrize("t", [0.1, 1.0])
def test_closed_form_gradient_passes_gradcheck(t):
    process, generator = UniformProcess(5, LogLinearSchedule()), torch.Generator().manual_seed(3)
    logits = torch.randn(6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    x0, xt = (torch.randint(5, (6,), generator=generator) for _ in range(2))
    level = process.level(torch.full((6,), t, dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda z: process.nelbo_from_logits(
            z, NoisyTokens(x0, xt, level.alpha, level.slope), Parameterization.LEAVE_ONE_OUT
        ),
        logits,
    )


def test_posterior_logits_are_converted_first():
    process, generator = UniformProcess(5, LogLinearSchedule()), torch.Generator().manual_seed(3)
    logits = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    x0, xt = (torch.randint(5, (6,), generator=generator) for _ in range(2))
    level = process.level(torch.full((6,), 0.4, dtype=torch.float64))
    logp = process.leave_one_out(logits, xt, level.alpha, Parameterization.POSTERIOR)
    torch.testing.assert_close(
        process.nelbo_from_logits(logits, NoisyTokens(x0, xt, level.alpha, level.slope), Parameterization.POSTERIOR),
        process.nelbo(logp, NoisyTokens(x0, xt, level.alpha, level.slope)),
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # raised by the compiler of torch
def test_compiled_loss_is_equal():
    process, compiled = (UniformProcess(V, LogLinearSchedule()) for _ in range(2))
    compiled.compile()
    generator = torch.Generator().manual_seed(2)
    x0, xt = (torch.randint(V, (40,), generator=generator) for _ in range(2))
    values = torch.randn(40, V, generator=generator)
    level = process.level(torch.full((40,), 0.4, dtype=torch.float64))
    found = []
    for one in (process, compiled):
        logits = values.clone().requires_grad_()
        loss = one.nelbo_from_logits(
            logits, NoisyTokens(x0, xt, level.alpha, level.slope), Parameterization.LEAVE_ONE_OUT
        )
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        found.append((loss.detach(), gradient))
    for plain, other in zip(*found, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-5, atol=1e-5)
