"""Toy distributions with probabilities by enumeration, and small helpers of the tests. Nothing here uses the closed
forms of the package: kernels are matrix exponentials or two-valued tables, and posteriors are sums over all clean rows.
"""

import math
import os
from collections.abc import Callable
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from scipy import optimize, stats
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones import Backbone
from uddm_lightning.core.batch import NoisyTokens
from uddm_lightning.processes import HybridProcess, Process, UniformProcess
from uddm_lightning.processes.schedules import LogLinearSchedule, NoiseLevel, Schedule

QUIET = settings(deadline=None, derandomize=True, database=None, max_examples=60)

# limits of chi-square and KS statistics; every draw in these tests is equal on every machine
# vocabulary sizes and levels alpha at s and t for tests of processes
SIZES = [2, 3, 7]
PAIRS = [(1.0, 0.9), (0.8, 0.35), (0.3, 0.001), (1.0, 0.001), (0.9999, 0.9998)]
SMALLEST_P = 1e-4


def reference(name: str) -> Path:
    """Return a file with numbers of another implementation, beside the checkout or in $UDDM_REFERENCE."""
    folder = os.environ.get("UDDM_REFERENCE")
    root = Path(folder) if folder else Path(__file__).resolve().parents[3] / "shared" / "reference"
    if not (root / name).is_file():
        pytest.skip(f"needs the reference numbers `{name}` (looked in {root}; set UDDM_REFERENCE to their folder)")
    return root / name


def full(value: float, count: int) -> Tensor:
    return torch.full((count,), value, dtype=torch.float64)


def random_logp(rng: torch.Generator, count: int, V: int, scale: float = 2.0) -> Tensor:
    return torch.log_softmax(scale * torch.randn(count, V, generator=rng, dtype=torch.float64), dim=1)


def assert_frequencies(counts: Tensor, probabilities: Tensor) -> None:
    """Assert that counts fit probabilities by chi-square; outcomes of probability 0 must not occur."""
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
    """Return q(x_t = j | x_s = i) as the exponential of the integrated generator: jumps to each id at rate 1 / V."""
    generator = torch.full((V, V), 1.0 / V, dtype=torch.float64) - torch.eye(V, dtype=torch.float64)
    return torch.matrix_exp(sigma * generator)


@cache
def absorbing_kernel(sigma: float, V: int) -> Tensor:
    """Return the same for jumps at rate 1 to the mask, the absorbing state V."""
    generator = torch.zeros(V + 1, V + 1, dtype=torch.float64)
    generator[:V, V] = 1.0
    generator[range(V), range(V)] = -1.0
    return torch.matrix_exp(sigma * generator)


@cache
def hybrid_noise(alpha: float, V: int, p_uniform: float) -> Tensor:
    """Return (t m + c_t u) / C_t (V + 1,) of the hybrid process at (1 - t) / C_t = alpha; t is found by search."""
    B = 2 * p_uniform / (1 - p_uniform)

    def noise(t: float) -> float:
        return B * math.sqrt(t * (1 - t))

    t = float(optimize.brentq(lambda t: (1 - t) / (1 + noise(t)) - alpha, 0.0, 1.0, xtol=1e-300, rtol=1e-15))
    return torch.tensor([noise(t) / V] * V + [t], dtype=torch.float64) / (1 + noise(t))


def noise_law(process: Process, alpha: float) -> Tensor:
    """Return the probabilities (S,) by which noise replaces a token at a signal level; they sum to 1 - alpha."""
    if isinstance(process, HybridProcess):
        return hybrid_noise(alpha, process.vocab_size, process.p_uniform)
    S, mask = process.num_states, process.mask_id
    law_S = torch.full((S,), 1 / S, dtype=torch.float64) if mask is None else torch.eye(S, dtype=torch.float64)[mask]
    return (1 - alpha) * law_S


class Joint:
    """A distribution over all V^L rows and its distribution under the forward process, by enumeration.

    Rows are listed in lexicographic order, X rows in all. Noisy rows may hold the mask of the process: Y rows in all,
    of S ids. Without a mask both lists are equal. `noise` returns the probabilities (S,) of noise at a signal level;
    None is noise by the mask if there is one, else uniform noise.
    """

    def __init__(
        self,
        V: int,
        L: int,
        seed: int,
        sharpness: float = 1.5,
        mask: bool = False,
        noise: Callable[[float], Tensor] | None = None,
    ) -> None:
        self.V, self.L, self.S = V, L, V + mask
        self.noise = noise
        self.rows_XL = torch.tensor(list(product(range(V), repeat=L)))
        self.noisy_YL = torch.tensor(list(product(range(self.S), repeat=L)))
        logits_X = torch.randn(len(self.rows_XL), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.p_X = torch.softmax(sharpness * logits_X, dim=0)

    @property
    def entropy(self) -> float:
        return float(torch.special.entr(self.p_X).sum())

    def code(self, tokens_BL: Tensor, noisy: bool = False) -> Tensor:
        """Return the index of each row in the list of texts, or in that of noisy rows."""
        base = self.S if noisy else self.V
        weights = torch.tensor([base ** (self.L - 1 - place) for place in range(self.L)])
        return (tokens_BL * weights).sum(-1)

    def factors(self, alpha: float, shown_YL: Tensor | None = None) -> Tensor:
        """Return q(x_t^l | x_0^l), indexed [x_0 row, x_t row, l], for all or given noisy rows."""
        shown_YL = self.noisy_YL if shown_YL is None else shown_YL
        hit = self.rows_XL[:, None] == shown_YL[None]
        if self.noise is not None:
            return torch.where(hit, alpha, 0.0) + self.noise(alpha)[shown_YL]
        noise = torch.tensor(1.0 - alpha, dtype=torch.float64)
        if self.S == self.V:
            return torch.where(hit, alpha + noise / self.V, noise / self.V)
        return torch.where(hit, alpha, torch.where(shown_YL[None] == self.V, noise, 0.0))

    def noisy(self, alpha: float) -> Tensor:
        """Return p(x_0, x_t), indexed [x_0 row, x_t row]."""
        return self.p_X[:, None] * self.factors(alpha).prod(-1)

    def _marginals(self, weights_XYL: Tensor) -> Tensor:
        table = torch.stack(
            [
                torch.stack(
                    [weights_XYL[self.rows_XL[:, place] == v, :, place].sum(0) for v in range(self.V)],
                    dim=1,
                )
                for place in range(self.L)
            ],
            dim=1,
        )
        total = table.sum(-1, keepdim=True)
        return torch.where(total > 0, table / total, 1.0 / self.V)  # the prediction for impossible rows is arbitrary

    def posterior(self, alpha: float) -> Tensor:
        """Return p(x_0^l = v | x_t), indexed [x_t row, l, v]."""
        return self._marginals(self.noisy(alpha)[..., None].expand(-1, -1, self.L))

    def leave_one_out(self, alpha: float, shown_YL: Tensor | None = None) -> Tensor:
        """Return p(x_0^l = v | x_t without l), indexed [x_t row, l, v]."""
        factors = self.factors(alpha, shown_YL)
        others = torch.stack(
            [factors[..., [m for m in range(self.L) if m != place]].prod(-1) for place in range(self.L)], dim=-1
        )
        return self._marginals(self.p_X[:, None, None] * others)

    def pairs(self, level: NoiseLevel) -> NoisyTokens:
        """Return the tokens of all pairs of a row and a noisy row at one level, X * Y * L in all."""
        shape = len(self.rows_XL), len(self.noisy_YL), self.L
        return NoisyTokens(
            self.rows_XL[:, None].expand(shape).flatten(),
            self.noisy_YL[None].expand(shape).flatten(),
            level.alpha.expand(math.prod(shape)),
            level.slope.expand(math.prod(shape)),
        )


class JointOracle(Backbone):
    """A backbone with the enumerated prediction of a `Joint`: leave-one-out or the posterior."""

    def __init__(self, joint: Joint, posterior: bool = False) -> None:
        super().__init__(joint.S)
        self.joint = joint
        self.posterior = posterior

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        sigmas, which_B = sigma_B.unique(return_inverse=True)
        ask = self.joint.posterior if self.posterior else self.joint.leave_one_out
        tables = torch.stack([ask(float(alpha)).log() for alpha in torch.exp(-sigmas)])
        return tables[which_B, self.joint.code(tokens_BL, noisy=True)]

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND


def expected_nelbo(process: Process, joint: Joint, logp_YLV: Tensor, t: float) -> float:
    """Return the loss at time t, as mean over x_0 and x_t and sum over positions; predictions are a table over x_t."""
    shape = len(joint.rows_XL), len(joint.noisy_YL), joint.L
    level = process.level(torch.tensor(t, dtype=torch.float64))
    loss = process.nelbo(logp_YLV.expand(*shape, joint.V).reshape(-1, joint.V), joint.pairs(level))
    weight_XY1 = joint.noisy(float(level.alpha))[..., None]
    return float(torch.where(weight_XY1 > 0, weight_XY1 * loss.view(shape), 0.0).sum())


def integrated_nelbo(process: Process, joint: Joint, predict: Callable[[float], Tensor], t_min: float = 1e-8) -> float:
    """Return the integral of the loss of a row over t in [t_min, 1], by Gauss-Legendre in ln t.

    Args:
        process: forward process.
        joint: distribution of the rows.
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


def prior_gap(process: Process, joint: Joint) -> float:
    """Return the KL divergence of q(x_1 | x_0) from a prior, in nats per row. The prior is uniform noise; with a mask,
    for which that KL divergence is infinite, it is the mean of q(x_1 | x_0) over all rows.
    """
    V = process.vocab_size
    if process.mask_id is None:
        end_V = uniform_kernel(-math.log(process.schedule.eps), V)[0]
        return joint.L * float((end_V * (end_V * V).log()).sum())
    noisy_XY = joint.noisy(process.schedule.eps)
    apart_XY = noisy_XY.sum(1, keepdim=True) * noisy_XY.sum(0)
    return float(torch.special.xlogy(noisy_XY, noisy_XY / apart_XY.where(noisy_XY > 0, 1.0)).sum())


def reverse_posterior(process: Process, logp_NV: Tensor, xt_N: Tensor, alpha_s_N: Tensor, alpha_t_N: Tensor) -> Tensor:
    """Return the dense q(x_s | x_t, p) (N, S) by Bayes' rule, proportional to sum_{x_0} p[x_0] q(x_s | x_0) q(x_t |
    x_s)."""
    S = process.num_states
    before_NS, after_NS = (
        torch.stack([noise_law(process, alpha) for alpha in alphas_N.tolist()]) for alphas_N in (alpha_s_N, alpha_t_N)
    )
    ratio_N1 = (alpha_t_N / alpha_s_N)[:, None]
    p_NS = torch.nn.functional.pad(logp_NV.double().exp(), (0, S - logp_NV.shape[1]))
    at_s_NS = alpha_s_N[:, None] * p_NS + before_NS
    onehot_NS = torch.nn.functional.one_hot(xt_N, S).double()
    into_N1 = (after_NS - ratio_N1 * before_NS).clamp(min=0.0).gather(1, xt_N[:, None])  # noise between s and t
    joint_NS = at_s_NS * (ratio_N1 * onehot_NS + into_N1)
    total_N1 = joint_NS.sum(1, keepdim=True)
    return torch.where(total_N1 > 0, joint_NS / total_N1, onehot_NS)  # an x_t of probability 0 stays


def chain_kernel(process: Process, joint: Joint, predict: Callable[[float], Tensor], times: list[float]) -> Tensor:
    """Return the transition matrix of the chain, [row at the first time, row at time 0], from the dense reverse
    posteriors."""
    Y, L = len(joint.noisy_YL), joint.L
    kernel_YY = torch.eye(Y, dtype=torch.float64)
    alphas = process.level(torch.tensor(times, dtype=torch.float64)).alpha
    for alpha_t, alpha_s in pairwise(alphas):
        q_YLS = reverse_posterior(
            process,
            predict(float(alpha_t)).reshape(-1, joint.V),
            joint.noisy_YL.flatten(),
            alpha_s.expand(Y * L),
            alpha_t.expand(Y * L),
        ).view(Y, L, joint.S)
        kernel_YY = kernel_YY @ torch.stack([q_YLS[:, place, joint.noisy_YL[:, place]] for place in range(L)]).prod(0)
    kernel_YX = kernel_YY[:, joint.code(joint.rows_XL, noisy=True)]
    torch.testing.assert_close(kernel_YX.sum(1), kernel_YY.sum(1))  # no token is masked at the end
    return kernel_YX


class TableBackbone(Backbone):
    """Logits from a table by position and noisy id, times cos(sigma). With `context`, every position also depends on
    the valid tokens around it.
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
    """The same prediction at every position."""

    def __init__(self, unigram_V: Tensor) -> None:
        super().__init__(len(unigram_V))
        self.register_buffer("logp_V", unigram_V.log())

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        return self.logp_V.expand(*tokens_BL.shape, -1)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND


def uniform_process(V: int, schedule: Schedule | None = None) -> UniformProcess:
    return UniformProcess(V, schedule or LogLinearSchedule())


def uniform_posterior(p_V: Tensor, xt: int, alpha_s: float, alpha_t: float) -> Tensor:
    """Return p(x_s | x_t) for x_0 ~ p, summed over the forward chain x_0 -> x_s -> x_t."""
    V = len(p_V)
    first = uniform_kernel(-math.log(alpha_s), V)
    second = uniform_kernel(math.log(alpha_s) - math.log(alpha_t), V)
    joint = p_V[:, None, None] * first[:, :, None] * second[None]
    seen = joint[:, :, xt].sum(0)
    return seen / seen.sum()
