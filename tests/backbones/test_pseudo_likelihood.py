"""The memory that is trained by pseudo-likelihood, against Hebb's rule."""

import pytest
import torch
from torch import Tensor

from uddm_lightning.backbones import HebbMemory, PseudoLikelihoodMemory
from uddm_lightning.backbones import TextStatistics as Statistics
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.objectives import DenoisingCrossEntropy
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

LENGTH, ROWS = 100, 50  # load 0.5


def patterns(rows: int, length: int) -> Tensor:
    return torch.randint(2, (rows, length), generator=torch.Generator().manual_seed(0))


def loss(backbone: PseudoLikelihoodMemory, rows: Tensor) -> Tensor:
    """Return the loss of the objective on clean rows."""
    numbers = torch.arange(len(rows))
    batch = TokenBatch(rows, numbers, numbers, numbers, torch.zeros(len(rows)), None, None, 0, 0)
    objective, process = DenoisingCrossEntropy(t_min=1e-6, t_max=1e-5), UniformProcess(2, LogLinearSchedule())
    noised = objective.corrupt(process, batch)
    assert torch.equal(noised.xt_BL, rows), "these times leave the rows clean"
    return objective(process, backbone, noised).total


def trained(rows: Tensor, steps: int = 80, symmetric: bool = False) -> PseudoLikelihoodMemory:
    backbone = PseudoLikelihoodMemory(2, rows.shape[1], symmetric).double()
    optimizer = torch.optim.Adam(backbone.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(backbone, rows).backward()
        optimizer.step()
    return backbone


def fixed_points(backbone: PseudoLikelihoodMemory | HebbMemory, rows: Tensor) -> int:
    with torch.no_grad():
        return int((backbone.head(backbone(rows, torch.zeros(len(rows)))).argmax(-1) == rows).all(1).sum())


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_the_update_is_hebb_s_times_one_minus_tanh(scale: float) -> None:
    """The gradient of autograd equals the sum over patterns of x_l x_m (1 - tanh(x_l h_l)), by loops over pairs."""
    rows = patterns(7, 6)
    backbone = PseudoLikelihoodMemory(2, 6).double()
    backbone.weight.data = scale * torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double()
    loss(backbone, rows).backward()
    gradient = backbone.weight.grad
    assert gradient is not None
    spins, weight = (2 * rows - 1).double(), backbone.weight.detach()
    for i in range(6):
        for m in range(6):
            update = 0.0
            for x in spins:
                field = sum(weight[i, k] * x[k] for k in range(6) if k != i)
                update += float(x[i] * x[m] * (1 - torch.tanh(x[i] * field))) * (i != m)
            assert float(-gradient[i, m]) * rows.numel() == pytest.approx(update, abs=1e-6)


def test_at_half_load_every_pattern_is_a_fixed_point_where_hebb_keeps_none() -> None:
    rows = patterns(ROWS, LENGTH)
    hebb = HebbMemory(2)
    hebb.prepare(Statistics(lambda: rows, torch.ones(2)))
    assert fixed_points(hebb, rows) == 0
    free, symmetric = trained(rows), trained(rows, symmetric=True)
    assert fixed_points(free, rows) == ROWS
    assert fixed_points(symmetric, rows) == ROWS
    assert free.asymmetry() > 0.01
    assert symmetric.asymmetry() == 0.0
