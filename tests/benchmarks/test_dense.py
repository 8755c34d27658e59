"""The dense formulas of the benchmark are correct, and the benchmark runs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks import dense, scaling
from tests.benchmarks.paths import Setting
from tests.benchmarks.timing import Seconds, compare, flops_of
from tests.support.toy_worlds import reverse_posterior
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.core.parameterization import Parameterization
from uddm_lightning.metrics import functional as F
from uddm_lightning.processes import UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule

B, L, V = 3, 5, 7


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(B, L, V, generator=generator, dtype=torch.float64)
    process = UniformProcess(V, LogLinearSchedule())
    t = torch.tensor([0.01, 0.4, 1.0], dtype=torch.float64)
    noised = process.corrupt(torch.randint(V, (B, L), generator=generator), t, torch.arange(B))
    alpha_N = noised.alpha_B.repeat_interleave(L)
    logp = process.leave_one_out(logits.view(-1, V), noised.xt_BL.flatten(), alpha_N, Parameterization.LEAVE_ONE_OUT)
    return process, noised, logits, logp, alpha_N


def test_the_textbook_agrees_with_the_package(case):
    process, noised, logits, logp, alpha_N = case
    ours = process.nelbo(
        logp, NoisyTokens(noised.x0_BL.flatten(), noised.xt_BL.flatten(), alpha_N, noised.slope_B.repeat_interleave(L))
    )
    theirs = dense.nelbo(logits, noised.x0_BL, noised.xt_BL, noised.alpha_B, noised.slope_B)
    torch.testing.assert_close(theirs.flatten(), ours)
    by_sums = dense.nelbo_by_sums(logits, noised.x0_BL, noised.xt_BL, noised.alpha_B, noised.slope_B)
    torch.testing.assert_close(by_sums, theirs)
    torch.testing.assert_close(dense.entropy(logits).flatten(), F.entropy(logp))
    torch.testing.assert_close(
        dense.cross_entropy(logits, noised.x0_BL).flatten(), -logp.gather(1, noised.x0_BL.view(-1, 1))[:, 0]
    )
    level = process.level(torch.tensor([0.3, 0.5], dtype=torch.float64)).alpha
    theirs = dense.posterior(logits, noised.xt_BL, level[0], level[1])
    levels = level[0].expand(B * L), level[1].expand(B * L)
    ours = reverse_posterior(process, logp, noised.xt_BL.flatten(), *levels)
    torch.testing.assert_close(theirs.view(-1, V), ours)
    assert (((drawn := dense.reverse_step(logits, noised.xt_BL, level[0], level[1])) >= 0) & (drawn < V)).all()


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    small = ("--vocab", "50", "--batch", "2", "--length", "8", "--rounds", "2", "--csv", str(tmp_path / "table.csv"))
    only = [word for path in ("training step", "reverse step", "entropy") for word in ("--only", path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *small, *only], capture_output=True, text=True, cwd=root, timeout=200
    )
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 + 3 + 4
    assert "GFLOP/s" in done.stdout


def test_a_call_may_return_its_own_time():
    calls = {"measured": lambda: Seconds(123.0), "taken": lambda: 123.0}
    found = compare(calls, 3)
    assert found["measured"].seconds == found["measured"].low == 123.0
    assert found["taken"].seconds < 1.0


def test_products_are_counted():
    network = torch.nn.Linear(3, 5)
    x = torch.ones(7, 3, requires_grad=True)
    assert flops_of(lambda: network(x)) == 2 * 7 * 3 * 5
    assert flops_of(lambda: network(x).sum().backward()) == 3 * 2 * 7 * 3 * 5


@pytest.mark.slow
def test_scaling_figure_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "BASE", {"V": 20, "B": 1, "L": 8, "hidden_size": 32})
    monkeypatch.setattr(
        scaling, "GROWS", {"V": (10, 30), "L": (4, 8), "B": (1, 2), "hidden_size": (32, 64), "N": (10, 10**9)}
    )
    rows = scaling.measure(Setting(blocks=1), rounds=1)
    assert len(rows) == 4 * 2 * 4 + 2
    assert {len(row) for row in rows} == {len(scaling.HEAD)}
    scaling.draw(rows, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
