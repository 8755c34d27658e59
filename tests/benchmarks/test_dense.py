"""The textbook side of the benchmark is right, and the benchmark runs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks import dense
from uddm_lightning.metrics import functional as F
from uddm_lightning.processes import Prediction, UniformProcess
from uddm_lightning.schedules import LogLinearSchedule

B, L, V = 3, 5, 7


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, L, V, generator=generator, dtype=torch.float64)
    process = UniformProcess(V, LogLinearSchedule())
    t = torch.tensor([0.01, 0.4, 1.0], dtype=torch.float64)
    noised = process.corrupt(torch.randint(V, (B, L), generator=generator), t, torch.arange(B))
    alpha_N = noised.alpha_B.repeat_interleave(L)
    logp = process.leave_one_out(logits.view(-1, V), noised.xt_BL.flatten(), alpha_N, Prediction.LEAVE_ONE_OUT)
    return process, noised, logits, logp, alpha_N


def test_the_textbook_agrees_with_the_package(case):
    process, noised, logits, logp, alpha_N = case
    ours = process.nelbo(
        logp, noised.x0_BL.flatten(), noised.xt_BL.flatten(), alpha_N, noised.slope_B.repeat_interleave(L)
    )
    theirs = dense.nelbo(logits, noised.x0_BL, noised.xt_BL, noised.alpha_B, noised.slope_B)
    torch.testing.assert_close(theirs.flatten(), ours)
    torch.testing.assert_close(dense.entropy(logits).flatten(), F.entropy(logp))
    torch.testing.assert_close(
        dense.cross_entropy(logits, noised.x0_BL).flatten(), -logp.gather(1, noised.x0_BL.view(-1, 1))[:, 0]
    )
    level = process.level(torch.tensor([0.3, 0.5], dtype=torch.float64)).alpha
    theirs = dense.posterior(logits, noised.xt_BL, level[0], level[1])
    ours = process.posterior(logp, noised.xt_BL.flatten(), level[0].expand(B * L), level[1].expand(B * L))
    torch.testing.assert_close(theirs.view(-1, V), ours)
    assert (((drawn := dense.reverse_step(logits, noised.xt_BL, level[0], level[1])) >= 0) & (drawn < V)).all()


def test_the_benchmark_runs(tmp_path):
    small = ("--vocab", "50", "--batch", "2", "--length", "8", "--rounds", "2", "--csv", str(tmp_path / "table.csv"))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *small], capture_output=True, text=True, cwd=root, timeout=200
    )
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 + 3 + 2 + 4 * 2
    assert "GFLOP/s" in done.stdout
