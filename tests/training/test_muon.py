"""MuonAdamW, compared with the optimizers of torch in float64 and with a singular value decomposition."""

import pytest
import torch
from torch import Tensor, nn

from uddm_lightning.backbones import DiT
from uddm_lightning.core.errors import InputError
from uddm_lightning.training.muon import MuonAdamW, orthogonalize

SHAPES = [(8, 8), (24, 8), (8, 32), (5, 3)]


def parameters(dtype: torch.dtype = torch.float64) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {f"blocks.{number}.weight": shape for number, shape in enumerate(SHAPES)}
    shapes |= {"blocks.0.bias": (8,), "output_layer.weight": (7, 8)}
    return {name: nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for name, s in shapes.items()}


def set_gradients(named: dict[str, nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in named.values():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


def polynomial(matrix: Tensor, steps: int) -> Tensor:
    """Apply the polynomial to the singular values of a matrix."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / matrix.norm()
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ torch.diag(s) @ v


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_polynomial_is_applied_to_the_singular_values(steps: int) -> None:
    matrices = [parameter.detach() for name, parameter in parameters().items() if parameter.ndim == 2]
    for matrix, found in zip(matrices, orthogonalize(matrices, steps), strict=True):
        torch.testing.assert_close(found, polynomial(matrix, steps), rtol=1e-9, atol=1e-12)
    for matrix, found in zip(matrices, orthogonalize([one.float() for one in matrices], steps), strict=True):
        torch.testing.assert_close(found, polynomial(matrix, steps).float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_orthogonalized_in_float32(dtype: torch.dtype) -> None:
    matrix = (1e-6 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    (found,) = orthogonalize([matrix])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, polynomial(matrix.double(), 5).float(), rtol=1e-3, atol=1e-4)


def test_singular_values_come_near_1() -> None:
    values = torch.logspace(-2, 0, 40, dtype=torch.float64)
    (found,) = orthogonalize([torch.diag(values / values.norm())])
    kept = found.diagonal()[values / values.norm() >= 1e-2]
    assert len(kept) > 20
    assert 0.65 < kept.min() < kept.max() < 1.25


def test_zero_gradient_gives_no_step() -> None:
    assert torch.equal(orthogonalize([torch.zeros(3, 5)])[0], torch.zeros(3, 5))


def test_other_parameters_are_trained_as_by_adamw() -> None:
    ours, theirs = parameters(), parameters()
    rest = ("blocks.0.bias", "output_layer.weight")
    options = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    optimizer = MuonAdamW(ours.items(), **options)
    judge = torch.optim.AdamW([theirs[name] for name in rest], **options)
    for step in range(5):
        for named, one in ((ours, optimizer), (theirs, judge)):
            set_gradients(named, step)
            if step == 2:
                named["blocks.0.bias"].grad = None  # a parameter without a gradient counts no step
            one.step()
    for name in rest:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-12)


def test_matrices_are_trained_as_by_muon_of_torch() -> None:
    """`torch.optim.Muon` orthogonalizes in bfloat16."""
    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    matrices = [name for name in ours if name.startswith("blocks") and name.endswith("weight")]
    optimizer = MuonAdamW(ours.items(), muon_lr=0.02, weight_decay=0.1, momentum=0.9)
    judge = torch.optim.Muon([theirs[name] for name in matrices], lr=0.02, weight_decay=0.1, momentum=0.9)
    start = {name: ours[name].detach().clone() for name in matrices}
    for step in range(5):
        for named, one in ((ours, optimizer), (theirs, judge)):
            set_gradients(named, step)
            one.step()
    for name in matrices:
        moved = (theirs[name] - start[name]).norm()
        assert (ours[name] - theirs[name]).norm() < 0.05 * moved


def test_matrices_of_the_blocks_take_the_rate_of_muon() -> None:
    backbone = DiT(27, hidden_size=16, n_blocks=2, n_heads=2, cond_dim=8)
    matrices, others = MuonAdamW(backbone.named_parameters(), lr=1e-3, muon_lr=1e-2).param_groups
    assert (matrices["lr"], others["lr"]) == (1e-2, 1e-3)
    layers = ("attn_qkv.weight", "attn_out.weight", "mlp.0.weight", "mlp.2.weight")
    assert matrices["param_names"] == [f"blocks.{block}.{layer}" for block in range(2) for layer in layers]
    assert len(matrices["params"]) + len(others["params"]) == len(list(backbone.parameters()))


def test_state_is_restored() -> None:
    once, twice = parameters(), parameters()
    optimizer = MuonAdamW(once.items())
    for step in range(4):
        set_gradients(once, step)
        optimizer.step()
    optimizer = MuonAdamW(twice.items())
    for step in range(4):
        if step == 2:
            state = optimizer.state_dict()
            optimizer = MuonAdamW(twice.items())
            optimizer.load_state_dict(state)
        set_gradients(twice, step)
        optimizer.step()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_closure_is_evaluated_with_gradients() -> None:
    named = parameters()

    def closure() -> Tensor:
        loss = torch.stack([parameter.square().sum() for parameter in named.values()]).sum()
        loss.backward()
        return loss

    before = closure().detach()
    assert MuonAdamW(named.items(), muon_lr=0.0, lr=0.01).step(closure) == before
    assert closure() < before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, r"`lr` must be in \[0, inf\), got -1\.0\."),
        ({"muon_lr": -1.0}, r"`muon_lr` must be in"),
        ({"weight_decay": -1.0}, r"`weight_decay` must be in"),
        ({"betas": (1.0, 0.9)}, r"`beta1` must be in"),
        ({"betas": (0.9, 1.0)}, r"`beta2` must be in"),
        ({"momentum": 1.0}, r"`momentum` must be in"),
        ({"eps": 0.0}, r"`eps` must be in"),
        ({"orthogonalization_steps": 0}, r"`orthogonalization_steps` must be at least 1"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MuonAdamW(parameters().items(), **options)
