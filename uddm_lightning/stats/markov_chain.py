"""Text whose law is known: a Markov chain of tokens.

Shapes: B rows, L positions, V ids.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core import keyed_random


class MarkovChain(NamedTuple):
    """A stationary chain of first order.

    Attributes:
        initial_V: float64, probabilities of the first token; also of any other, for the chain is stationary.
        transition_VV: float64, probabilities of a token (columns) after another one (rows).
    """

    initial_V: Tensor
    transition_VV: Tensor

    @classmethod
    def random(cls, states: int, sharpness: float, seed: int) -> "MarkovChain":
        """A chain with transitions softmax(sharpness * standard normal): at 0 all tokens are alike, at 3 few follow.

        Args:
            states: V.
            sharpness: spread of the logits.
            seed: of the logits.
        """
        places = torch.arange(states)
        quantiles_VV = (
            keyed_random.uniform(seed, keyed_random.Stream.MARKOV, places[:, None], places) + 2.0**-54
        )  # never 0
        transition_VV = torch.softmax(sharpness * torch.special.ndtri(quantiles_VV), 1)
        # stationary: pi P = pi, with one of these equations, which are dependent, replaced by sum(pi) = 1
        equations_VV = transition_VV.T - torch.eye(states, dtype=torch.float64)
        equations_VV[-1] = 1.0
        return cls(torch.linalg.solve(equations_VV, torch.eye(states, dtype=torch.float64)[-1]), transition_VV)

    def draw(self, keys_B: Tensor, length: int) -> Tensor:
        """Rows of the chain, int64 (B, L), each a function of its key."""
        keys_B = keyed_random.key(keys_B, keyed_random.Stream.MARKOV)
        tokens_B = _place(self.initial_V.expand(len(keys_B), -1), keyed_random.uniform(keys_B, 0))
        row = [tokens_B]
        for position in range(1, length):
            tokens_B = _place(self.transition_VV[tokens_B], keyed_random.uniform(keys_B, position))
            row.append(tokens_B)
        return torch.stack(row, 1)

    def renumbered(self, ids: Sequence[int], vocab_size: int) -> "MarkovChain":
        """The same chain in a vocabulary where state k is called `ids[k]`; other ids never occur."""
        initial_V = self.initial_V.new_zeros(vocab_size)
        transition_VV = self.transition_VV.new_zeros(vocab_size, vocab_size)
        places = torch.tensor(ids)
        initial_V[places] = self.initial_V
        transition_VV[places[:, None], places] = self.transition_VV
        return MarkovChain(initial_V, transition_VV)


def _place(p_BV: Tensor, u_B: Tensor) -> Tensor:
    """Ids at which the cumulative probability passes a uniform number."""
    cumulative_BV = p_BV.cumsum(1)
    return (cumulative_BV[:, :-1] <= (u_B * cumulative_BV[:, -1])[:, None]).sum(1)
