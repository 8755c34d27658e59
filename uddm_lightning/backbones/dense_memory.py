"""Dense associative memory.

Shapes: B rows, L positions, V ids, R training rows, C training rows in a chunk.
"""

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone, TextStatistics
from uddm_lightning.core.errors import check_at_least, check_within
from uddm_lightning.core.parameterization import Parameterization

CHUNK_ELEMENTS = 2**22  # elements of (B, C, L) at once


class DenseAssociativeMemory(Backbone):
    """Dense associative memory: the energy is a power of the overlaps with the training rows.

    With s(v) s(w) = V - 1 for equal ids and -1 for others, and the overlap o_r = sum over l of s(x_l) s(xi_rl), the
    energy is E = - sum over r of L (o_r / L)^n. The logit of id v at position l is -beta times the energy of the row
    with v at l, up to a constant of the position. For n = 2 it is Hebb's rule with 2 beta. The capacity for random
    patterns of spins grows as L^(n - 1).

    Source: Krotov and Hopfield 2016, arXiv 1606.01164.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        degree: n, at least 2. An even degree also stores the patterns with all spins reversed.
        beta: inverse temperature, in (0, 1e6). The most probable ids do not depend on it.

    Raises:
        InputError: `degree` is below 2, or `beta` is out of range.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import DenseAssociativeMemory, TextStatistics
        >>> backbone, rows_RL = DenseAssociativeMemory(2), torch.tensor([[0, 1, 1, 0, 1, 1], [1, 0, 1, 1, 0, 1]])
        >>> backbone.prepare(TextStatistics(lambda: rows_RL, torch.tensor([0.5, 0.5])))
        >>> backbone(torch.tensor([[1, 1, 1, 0, 1, 1]]), torch.zeros(1)).argmax(-1)
        tensor([[0, 1, 1, 0, 1, 1]])
    """

    parameterization = Parameterization.LEAVE_ONE_OUT
    trainable = False
    rows_RL: Tensor

    def __init__(self, vocab_size: int, degree: int = 3, beta: float = 1.0) -> None:
        super().__init__(vocab_size)
        check_at_least(2, degree=degree)
        check_within("(0, 1e6)", beta=beta)
        self.degree = degree
        self.beta = beta
        self.register_buffer("rows_RL", torch.zeros(1, 0, dtype=torch.int64), persistent=False)

    @override
    def prepare(self, statistics: TextStatistics) -> None:
        self.rows_RL = statistics.rows().to(self.rows_RL.device)

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return logits (B, L, V), float64."""
        (B, L), V = tokens_BL.shape, self.vocab_size
        seen_BL = tokens_BL if valid_BL is None else tokens_BL.where(valid_BL, -1)  # -1 equals no id
        length_B1 = (seen_BL >= 0).sum(1)[:, None, None].clamp(min=1).double()
        offsets_L = V * torch.arange(L, device=tokens_BL.device)
        gain_BX = torch.zeros(B, L * V, dtype=torch.float64, device=tokens_BL.device)
        for rows_CL in torch.split(self.rows_RL, max(1, CHUNK_ELEMENTS // seen_BL.numel())):
            equal_BCL = seen_BL[:, None] == rows_CL
            code_BCL = torch.where((seen_BL >= 0)[:, None], V * equal_BCL - 1, 0)
            others_BCL = (code_BCL.sum(2, keepdim=True) - code_BCL).double()  # overlaps without position l
            hit_BCL = length_B1 * ((others_BCL + V - 1) / length_B1) ** self.degree
            miss_BCL = length_B1 * ((others_BCL - 1) / length_B1) ** self.degree
            gain_BX.index_add_(1, (rows_CL + offsets_L).flatten(), (hit_BCL - miss_BCL).flatten(1))
        return self.beta * gain_BX.view(B, L, V)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND
