"""The perfect generalizer: exact predictions for text that was drawn from a known Markov chain.

Shapes: B rows, L positions, V ids in the vocabulary.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import TextStatistics
from uddm_lightning.backbones.oracle import Oracle
from uddm_lightning.core.errors import InputError


class MarkovBackbone(Oracle):
    """Forward-backward over the chain, without the emission at the position that is asked for.

    No prediction has a smaller expected loss on new text. Its chain is no upper limit to recovery, which is no proper
    score: predictions raised to a power above 1 restore more tokens, and change more clean ones. What no chain can
    exceed in the mean is `Process.bayes_argmax`.
    """

    exact_splits = ("train", "test")

    initial_V: Tensor
    transition_VV: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        flat_V = torch.full((vocab_size,), 1.0 / vocab_size, dtype=torch.float64)
        self.register_buffer("initial_V", flat_V, persistent=False)
        self.register_buffer("transition_VV", flat_V.repeat(vocab_size, 1), persistent=False)

    @override
    def prepare(self, known: TextStatistics) -> None:
        if known.chain is None:
            raise InputError(
                "`model.backbone` is MarkovBackbone, which needs text whose law is known: `data.source: MarkovSource` "
                "with a `CharacterTokenizer` of its letters, and a `data.packing.length` that divides the source's."
            )
        super().prepare(known)
        device = self.initial_V.device
        self.initial_V, self.transition_VV = (part.to(device) for part in known.chain)

    @override
    def predict(self, tokens_BL: Tensor, alpha_B: Tensor, changed_B: Tensor, valid_BL: Tensor | None) -> Tensor:
        # q(x_t^l | x_0^l = v) = alpha [x_t^l = v] + (1 - alpha) / V, or without the second term where noise masks;
        # padding and masks say the same of every v
        initial_V, transition_VV = self.initial_V.double(), self.transition_VV.double()
        seen_B1, any_B1 = alpha_B[:, None], (changed_B / self.vocab_size)[:, None]
        if self.mask is not None:
            any_B1 = torch.zeros_like(any_B1)
        telling_BL = self.telling(tokens_BL, valid_BL)
        tokens_BL = tokens_BL.where(telling_BL, 0)

        def weighed(message_BV: Tensor, position: int) -> Tensor:
            """A message times what the noisy token at a position says, normalised."""
            ids_B1 = tokens_BL[:, position, None]
            seen_BV = (any_B1 * message_BV).scatter_add(1, ids_B1, seen_B1 * message_BV.gather(1, ids_B1))
            seen_BV = seen_BV.where(telling_BL[:, position, None], message_BV)
            return seen_BV / seen_BV.sum(1, keepdim=True)

        length = tokens_BL.shape[1]
        before = [initial_V.expand(len(tokens_BL), -1)]  # p(x_0^l | x_t left of l)
        for position in range(length - 1):
            before.append(weighed(before[-1], position) @ transition_VV)
        after = [torch.ones_like(before[0])]  # p(x_t right of l | x_0^l), up to a constant
        for position in range(length - 1, 0, -1):
            after.append(weighed(after[-1], position) @ transition_VV.T)
        return (torch.stack(before, 1) * torch.stack(after[::-1], 1)).log()
