"""Toy worlds whose every probability is known by enumeration, and small helpers of the tests.

Nothing here is written with the closed forms of the package: kernels are matrix exponentials or two-valued tables, and
posteriors are sums over everything that could have happened.
"""

import importlib
import inspect
import math
import os
import pkgutil
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from scipy import stats
from torch import Tensor
from typing_extensions import override

import uddm_lightning
from uddm_lightning.backbones import Backbone
from uddm_lightning.processes import UniformProcess

QUIET = settings(deadline=None, derandomize=True, database=None, max_examples=60)

# a chi-square or KS value beyond these is no accident: every draw in these tests is the same on every machine
SMALLEST_P = 1e-4


def reference(name: str) -> Path:
    """A file with numbers of another implementation; they lie beside the checkout, or where UDDM_REFERENCE says."""
    folder = os.environ.get("UDDM_REFERENCE")
    root = Path(folder) if folder else Path(__file__).resolve().parents[3] / "shared" / "reference"
    if not (root / name).is_file():
        pytest.skip(f"needs the reference numbers `{name}` (looked in {root}; set UDDM_REFERENCE to their folder)")
    return root / name


def assert_frequencies(counts: Tensor, probabilities: Tensor) -> None:
    """Chi-square of counts against probabilities; outcomes of probability 0 must not occur."""
    counts, probabilities = counts.double(), probabilities.double()
    possible = probabilities > 1e-15
    assert counts[~possible].sum() == 0, "an impossible outcome occurred"
    counts, probabilities = counts[possible], probabilities[possible]
    if len(counts) == 1:
        return
    expected = counts.sum() * probabilities / probabilities.sum()
    assert expected.min() >= 5, "too few draws for a chi-square"
    p = stats.chisquare(counts.numpy(), expected.numpy()).pvalue
    assert p > SMALLEST_P, f"chi-square p = {p:.2e}: {counts.tolist()} where {expected.tolist()} were expected"


def uniform_kernel(sigma: float, V: int) -> Tensor:
    """q(x_t = j | x_s = i) as the exponential of the integrated generator: jump to any id at rate 1 / V each."""
    generator = torch.full((V, V), 1.0 / V, dtype=torch.float64) - torch.eye(V, dtype=torch.float64)
    return torch.matrix_exp(sigma * generator)


class Joint:
    """A distribution over all V^L rows, with everything the forward process makes of it, by enumeration.

    Rows are listed in lexicographic order, X rows in all.
    """

    def __init__(self, V: int, L: int, seed: int, sharpness: float = 1.5) -> None:
        self.V, self.L = V, L
        self.rows_XL = torch.tensor(list(product(range(V), repeat=L)))
        noise = torch.randn(len(self.rows_XL), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.p_X = torch.softmax(sharpness * noise, dim=0)

    @property
    def entropy(self) -> float:
        return float(torch.special.entr(self.p_X).sum())

    def code(self, tokens_BL: Tensor) -> Tensor:
        """Place of each row in the list."""
        weights = torch.tensor([self.V ** (self.L - 1 - place) for place in range(self.L)])
        return (tokens_BL * weights).sum(-1)

    def factors(self, alpha: float) -> Tensor:
        """q(x_t^l | x_0^l), indexed [x_0 row, x_t row, l]."""
        hit = self.rows_XL[:, None] == self.rows_XL[None]
        miss = torch.tensor((1.0 - alpha) / self.V, dtype=torch.float64)
        return torch.where(hit, alpha + miss, miss)

    def noisy(self, alpha: float) -> Tensor:
        """p(x_0, x_t), indexed [x_0 row, x_t row]."""
        return self.p_X[:, None] * self.factors(alpha).prod(-1)

    def _marginals(self, weights_XXL: Tensor) -> Tensor:
        table = torch.stack(
            [
                torch.stack(
                    [weights_XXL[self.rows_XL[:, place] == v, :, place].sum(0) for v in range(self.V)],
                    dim=1,
                )
                for place in range(self.L)
            ],
            dim=1,
        )
        return table / table.sum(-1, keepdim=True)

    def posterior(self, alpha: float) -> Tensor:
        """p(x_0^l = v | x_t), indexed [x_t row, l, v]."""
        return self._marginals(self.noisy(alpha)[..., None].expand(-1, -1, self.L))

    def leave_one_out(self, alpha: float) -> Tensor:
        """p(x_0^l = v | x_t without l), indexed [x_t row, l, v]."""
        factors = self.factors(alpha)
        others = torch.stack(
            [factors[..., [m for m in range(self.L) if m != place]].prod(-1) for place in range(self.L)], dim=-1
        )
        return self._marginals(self.p_X[:, None, None] * others)


class JointOracle(Backbone):
    """Answers with the enumerated prediction of a `Joint`: leave-one-out, or the posterior."""

    def __init__(self, joint: Joint, posterior: bool = False) -> None:
        super().__init__(joint.V)
        self.joint = joint
        self.posterior = posterior

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        sigmas, which_B = sigma_B.unique(return_inverse=True)
        ask = self.joint.posterior if self.posterior else self.joint.leave_one_out
        tables = torch.stack([ask(float(alpha)).log() for alpha in torch.exp(-sigmas)])
        return tables[which_B, self.joint.code(tokens_BL)]

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND


def expected_nelbo(process: UniformProcess, joint: Joint, logp_XLV: Tensor, t: float) -> float:
    """Mean over x_0 and x_t, sum over positions, of the loss at time t; predictions are a table over x_t."""
    X, L, V = len(joint.rows_XL), joint.L, joint.V
    level = process.level(torch.tensor(t, dtype=torch.float64))
    shape = (X, X, L)
    loss = process.nelbo(
        logp_XLV.expand(X, X, L, V).reshape(-1, V),
        joint.rows_XL[:, None].expand(shape).flatten(),
        joint.rows_XL[None].expand(shape).flatten(),
        level.alpha.expand(X * X * L),
        level.slope.expand(X * X * L),
    )
    return float((joint.noisy(float(level.alpha))[..., None] * loss.view(shape)).sum())


def integrated_nelbo(
    process: UniformProcess, joint: Joint, predict: Callable[[float], Tensor], t_min: float = 1e-8
) -> float:
    """Integral of the loss of a row over t in [t_min, 1], by Gauss-Legendre in ln t.

    Args:
        process: the noise.
        joint: where rows come from.
        predict: leave-one-out log-probabilities [x_t row, l, v] at a signal level.
        t_min: lower end.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    total = 0.0
    for low, high in pairwise(np.linspace(np.log(t_min), 0.0, 9)):
        for node, weight in zip(nodes, weights, strict=True):
            t = float(np.exp(0.5 * (high - low) * node + 0.5 * (high + low)))
            alpha = float(process.level(torch.tensor(t, dtype=torch.float64)).alpha)
            total += 0.5 * (high - low) * weight * t * expected_nelbo(process, joint, predict(alpha), t)
    return total


def prior_gap(process: UniformProcess, L: int) -> float:
    """KL divergence, in nats a row, of what is left of any row at t = 1 from uniform noise."""
    V = process.vocab_size
    end_V = uniform_kernel(-math.log(process.schedule.eps), V)[0]
    return L * float((end_V * (end_V * V).log()).sum())


def chain_kernel(
    process: UniformProcess, joint: Joint, predict: Callable[[float], Tensor], times: list[float]
) -> Tensor:
    """Where the chain ends, [row at the first time, row at the last], from the dense reverse posterior of each step."""
    X, L, V = len(joint.rows_XL), joint.L, joint.V
    kernel_XX = torch.eye(X, dtype=torch.float64)
    alphas = process.level(torch.tensor(times, dtype=torch.float64)).alpha
    for alpha_t, alpha_s in pairwise(alphas):
        q_XLV = process.posterior(
            predict(float(alpha_t)).reshape(-1, V),
            joint.rows_XL.flatten(),
            alpha_s.expand(X * L),
            alpha_t.expand(X * L),
        ).view(X, L, V)
        kernel_XX = kernel_XX @ torch.stack([q_XLV[:, place, joint.rows_XL[:, place]] for place in range(L)]).prod(0)
    return kernel_XX


class TableBackbone(Backbone):
    """Logits looked up by (noisy id, position, a step of the noise level): as arbitrary as a network, exact, and fast.

    With `context`, every position also looks at the (valid) tokens around it.
    """

    def __init__(self, V: int, L: int, seed: int = 0, scale: float = 1.0, context: bool = True) -> None:
        super().__init__(V)
        table = torch.randn(L, V, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.table = torch.nn.Parameter(scale * table)
        self.context = context

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        places = torch.arange(tokens_BL.shape[1])
        hidden = self.table[places, tokens_BL]
        if self.context:
            seen = tokens_BL if valid_BL is None else tokens_BL.where(valid_BL, torch.zeros_like(tokens_BL))
            hidden = hidden + self.table[0, seen.sum(1) % self.vocab_size][:, None]
        return hidden * torch.cos(sigma_B)[:, None, None]

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND


class UnigramOracle(Backbone):
    """The same prediction everywhere."""

    def __init__(self, unigram_V: Tensor) -> None:
        super().__init__(len(unigram_V))
        self.register_buffer("logp_V", unigram_V.log())

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        return self.logp_V.expand(*tokens_BL.shape, -1)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND


def _modules() -> Iterator[str]:
    for info in pkgutil.walk_packages(uddm_lightning.__path__, "uddm_lightning."):
        room = info.name.split(".")[1]
        if room in {"schedules", "processes", "backbones", "objectives", "samplers", "learning_rates"}:
            yield info.name


def plugins(base: type) -> list[type]:
    """Every concrete class of the package under `base`, also in modules that nobody imports."""
    for name in _modules():
        importlib.import_module(name)
    found: list[type] = []
    waiting = [base]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            if child.__module__.startswith("uddm_lightning.") and not inspect.isabstract(child) and child not in found:
                found.append(child)
    return sorted(found, key=lambda child: child.__qualname__)
