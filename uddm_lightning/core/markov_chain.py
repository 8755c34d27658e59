"""Markov chain of tokens: a text whose distribution is known.

Shapes: B rows, L positions, V states or ids.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core import keyed_random


class MarkovChain(NamedTuple):
    """Stationary Markov chain of first order.

    Attributes:
        initial_V: float64 probabilities of the first token. The chain is stationary: every token has this marginal.
        transition_VV: float64 probabilities of the next token (columns) given the current token (rows).

    Example:
        >>> chain = MarkovChain.random(states=3, sharpness=2.0, seed=0)
        >>> torch.allclose(chain.initial_V @ chain.transition_VV, chain.initial_V)
        True
        >>> chain.sample(torch.arange(2), length=4).shape
        torch.Size([2, 4])
    """

    initial_V: Tensor
    transition_VV: Tensor

    @classmethod
    def random(cls, states: int, sharpness: float, seed: int) -> "MarkovChain":
        """Return a chain whose transition probabilities are softmax(sharpness * standard normal).

        Args:
            states: V.
            sharpness: standard deviation of the logits. At 0 all transitions are equally likely; at 3 each state has
                few likely successors.
            seed: seed of the logits.
        """
        indices = torch.arange(states)
        uniform_VV = keyed_random.uniform(seed, keyed_random.Stream.MARKOV, indices[:, None], indices)
        quantiles_VV = uniform_VV + 2.0**-54  # never 0
        transition_VV = torch.softmax(sharpness * torch.special.ndtri(quantiles_VV), 1)
        # The equations pi P = pi are linearly dependent: sum(pi) = 1 replaces the last one.
        equations_VV = transition_VV.T - torch.eye(states, dtype=torch.float64)
        equations_VV[-1] = 1.0
        return cls(torch.linalg.solve(equations_VV, torch.eye(states, dtype=torch.float64)[-1]), transition_VV)

    def sample(self, keys_B: Tensor, length: int) -> Tensor:
        """Return rows of the chain, int64 (B, L); each row depends only on its key."""
        keys_B = keyed_random.key(keys_B, keyed_random.Stream.MARKOV)
        tokens_B = _inverse_cdf(self.initial_V.expand(len(keys_B), -1), keyed_random.uniform(keys_B, 0))
        tokens_by_position = [tokens_B]
        for position in range(1, length):
            tokens_B = _inverse_cdf(self.transition_VV[tokens_B], keyed_random.uniform(keys_B, position))
            tokens_by_position.append(tokens_B)
        return torch.stack(tokens_by_position, 1)

    def relabel(self, ids: Sequence[int], vocab_size: int) -> "MarkovChain":
        """Return the same chain over a vocabulary of V ids, where state k has the id `ids[k]`.

        All other ids have probability 0.
        """
        initial_V = self.initial_V.new_zeros(vocab_size)
        transition_VV = self.transition_VV.new_zeros(vocab_size, vocab_size)
        indices = torch.tensor(ids)
        initial_V[indices] = self.initial_V
        transition_VV[indices[:, None], indices] = self.transition_VV
        return MarkovChain(initial_V, transition_VV)


def _inverse_cdf(p_BV: Tensor, u_B: Tensor) -> Tensor:
    """Return the first id whose cumulative probability exceeds the uniform number."""
    cumulative_BV = p_BV.cumsum(1)
    return (cumulative_BV[:, :-1] <= (u_B * cumulative_BV[:, -1])[:, None]).sum(1)
