"""Toy distributions of text, small enough to enumerate all texts.

Shapes: X = V^L texts, L positions, V ids.
"""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.backbones import EmpiricalBayesBackbone, MarkovBackbone, Oracle, TextStatistics, UnigramBackbone
from uddm_lightning.core.markov_chain import MarkovChain

V, L = 3, 3
X = V**L
ROWS_XL = torch.tensor(list(product(range(V), repeat=L)))
UNIGRAM_V = torch.softmax(torch.arange(V, dtype=torch.float64), 0)


class ToyDistribution(NamedTuple):
    """A toy distribution of text, as an oracle and as an explicit table.

    Attributes:
        oracle: oracle of the distribution.
        p_X: float64 probability of each text.
    """

    oracle: Oracle
    p_X: Tensor

    def predictions(self, alpha: float) -> Tensor:
        """Return p(x_0^l = v | x_t without l), float64, indexed [x_t, l, v], summed over all texts."""
        table_XLV = torch.empty(X, L, V, dtype=torch.float64)
        for position in range(L):
            others = [other for other in range(L) if other != position]
            weight_XX = self.p_X[:, None] * likelihood(alpha)[..., others].prod(-1)
            for v in range(V):
                table_XLV[:, position, v] = weight_XX[ROWS_XL[:, position] == v].sum(0)
        return table_XLV / table_XLV.sum(-1, keepdim=True)


def likelihood(alpha: float) -> Tensor:
    """Return q(x_t^l | x_0^l) of the uniform process, float64, indexed [x_0, x_t, l]."""
    other = torch.tensor((1.0 - alpha) / V, dtype=torch.float64)
    return torch.where(ROWS_XL[:, None] == ROWS_XL, alpha + other, other)


def markov() -> ToyDistribution:
    """Return the distribution of a Markov chain."""
    chain = MarkovChain.random(V, sharpness=1.5, seed=0)
    steps_XL = chain.transition_VV[ROWS_XL[:, :-1], ROWS_XL[:, 1:]]
    p_X = chain.initial_V[ROWS_XL[:, 0]] * steps_XL.prod(1)
    return ToyDistribution(_prepare(MarkovBackbone(V), chain=chain), p_X)


def memory() -> ToyDistribution:
    """Return the uniform distribution over five training rows."""
    rows = ROWS_XL[[3, 8, 14, 20, 25]]
    p_X = (ROWS_XL[:, None] == rows).all(2).any(1).double() / len(rows)
    return ToyDistribution(_prepare(EmpiricalBayesBackbone(V), rows), p_X)


def unigram() -> ToyDistribution:
    """Return the distribution of independent tokens."""
    return ToyDistribution(_prepare(UnigramBackbone(V)), UNIGRAM_V[ROWS_XL].prod(1))


def _prepare(oracle: Oracle, rows: Tensor = ROWS_XL, chain: MarkovChain | None = None) -> Oracle:
    oracle.prepare(TextStatistics(lambda: rows, UNIGRAM_V, chain))
    return oracle
