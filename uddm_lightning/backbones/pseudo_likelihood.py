"""Linear memory that is trained by pseudo-likelihood.

Shapes: B rows, L positions, V ids, K = V - 1 numbers of the code of an id, M = L K.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override

from uddm_lightning.backbones.linear_memory import LinearMemory
from uddm_lightning.core.errors import check_at_least


class PseudoLikelihoodMemory(LinearMemory):
    """Linear memory with trained couplings, which start at 0: the associative memory of the paper's theory.

    Trained by `DenoisingCrossEntropy` on clean text (times near 0), it maximizes the pseudo-likelihood, the sum over l
    of ln p(x_l | other positions). For V = 2 the gradient for J_lm is the mean over patterns of

        x_l x_m (1 - tanh(x_l h_l)):

    Hebb's rule times a factor that vanishes as the margin x_l h_l grows. The first step is therefore Hebb's. J is not
    symmetric in general, so there is no energy; patterns can be fixed points all the same.

    Source: D'Amico et al. 2025, arXiv 2507.05147.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
        length: L, tokens of a row, at least 2.
        symmetric: keep J symmetric, with half of the free couplings.

    Raises:
        InputError: `length` is below 2.

    Example:
        >>> import torch
        >>> from uddm_lightning.backbones import PseudoLikelihoodMemory
        >>> backbone, patterns_BL = PseudoLikelihoodMemory(2, length=5), torch.tensor([[0, 1, 1, 0, 1]])
        >>> for _ in range(3):
        ...     logits_NV = backbone.head(backbone(patterns_BL, torch.zeros(1)).flatten(0, 1))
        ...     torch.nn.functional.cross_entropy(logits_NV, patterns_BL[0]).backward()
        ...     backbone.weight.data -= backbone.weight.grad
        >>> backbone.head(backbone(torch.tensor([[1, 1, 1, 0, 1]]), torch.zeros(1))).argmax(-1)
        tensor([[0, 1, 1, 0, 1]])
    """

    mask_MM: Tensor

    def __init__(self, vocab_size: int, length: int, symmetric: bool = False) -> None:
        super().__init__(vocab_size)
        check_at_least(2, length=length)
        self.symmetric = symmetric
        size = length * (vocab_size - 1)
        self.weight = nn.Parameter(torch.zeros(size, size))
        self.register_buffer("mask_MM", self.off_diagonal(length), persistent=False)

    @override
    def couplings(self) -> Tensor:
        weight_MM = (self.weight + self.weight.T) / 2 if self.symmetric else self.weight
        return weight_MM * self.mask_MM
