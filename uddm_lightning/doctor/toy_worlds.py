"""Tiny worlds, in which everything can be known by summing over all texts.

Shapes: X = V^L texts, L positions, V ids.
"""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.backbones import EmpiricalBayesBackbone, MarkovBackbone, Oracle, TextStatistics, UnigramBackbone
from uddm_lightning.stats.markov_chain import MarkovChain

V, L = 3, 3
X = V**L
ROWS_XL = torch.tensor(list(product(range(V), repeat=L)))
UNIGRAM_V = torch.softmax(torch.arange(V, dtype=torch.float64), 0)


class World(NamedTuple):
    """An idea of where text comes from, twice.

    Attributes:
        oracle: knows its predictions by a formula.
        p_X: float64, probability of every text, from which they can be found without one.
    """

    oracle: Oracle
    p_X: Tensor

    def predictions(self, alpha: float) -> Tensor:
        """p(x_0^l = v | x_t without l), float64, [x_t text, l, v], summed over all texts."""
        table_XLV = torch.empty(X, L, V, dtype=torch.float64)
        for place in range(L):
            others = [other for other in range(L) if other != place]
            weight_XX = self.p_X[:, None] * likelihood(alpha)[..., others].prod(-1)
            for v in range(V):
                table_XLV[:, place, v] = weight_XX[ROWS_XL[:, place] == v].sum(0)
        return table_XLV / table_XLV.sum(-1, keepdim=True)


def likelihood(alpha: float) -> Tensor:
    """q(x_t^l | x_0^l), float64, [x_0 text, x_t text, l]."""
    other = torch.tensor((1.0 - alpha) / V, dtype=torch.float64)
    return torch.where(ROWS_XL[:, None] == ROWS_XL, alpha + other, other)


def markov() -> World:
    """Text of a Markov chain."""
    chain = MarkovChain.random(V, sharpness=1.5, seed=0)
    steps_XL = chain.transition_VV[ROWS_XL[:, :-1], ROWS_XL[:, 1:]]
    return World(_ready(MarkovBackbone(V), chain=chain), chain.initial_V[ROWS_XL[:, 0]] * steps_XL.prod(1))


def memory() -> World:
    """Five rows, one as likely as another."""
    rows = ROWS_XL[[3, 8, 14, 20, 25]]
    p_X = (ROWS_XL[:, None] == rows).all(2).any(1).double() / len(rows)
    return World(_ready(EmpiricalBayesBackbone(V), rows), p_X)


def unigram() -> World:
    """Independent letters."""
    return World(_ready(UnigramBackbone(V)), UNIGRAM_V[ROWS_XL].prod(1))


def _ready(oracle: Oracle, rows: Tensor = ROWS_XL, chain: MarkovChain | None = None) -> Oracle:
    oracle.prepare(TextStatistics(lambda: rows, UNIGRAM_V, chain))
    return oracle
