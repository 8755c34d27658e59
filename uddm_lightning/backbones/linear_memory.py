"""Base class of linear memories, and the code of ids as spins.

Shapes: B rows, L positions, V ids, K = V - 1 numbers of the code of an id, M = L K, R patterns.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.backbones.base import Backbone
from uddm_lightning.core.errors import InputError
from uddm_lightning.core.parameterization import Parameterization

ASYMMETRY_OF_ROUNDING = 1e-9  # largest share of the squared norm that rounding in float32 can explain


def spin_code(vocab_size: int) -> Tensor:
    """Return the code of each id, float64 (V, K): the corners of a regular simplex with K = V - 1 dimensions.

    The product of two codes is V - 1 for equal ids and -1 for different ones. For V = 2 the codes are the spins -1
    and 1; for V > 2 they are those of a Potts model.

    Example:
        >>> spin_code(2).tolist()
        [[-1.0], [1.0]]
        >>> (spin_code(3) @ spin_code(3).T).round(decimals=6).tolist()
        [[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]]
    """
    code_VK = torch.zeros(vocab_size, vocab_size - 1, dtype=torch.float64)
    for k in range(1, vocab_size):
        code_VK[:k, k - 1] = -1.0
        code_VK[k, k - 1] = k
        code_VK[:, k - 1] *= (vocab_size / (k * (k + 1))) ** 0.5
    return code_VK


class LinearMemory(Backbone):
    """Base class of networks whose logits are linear in the spins at the other positions, and ignore the noise level.

    With the codes s of the ids (see `spin_code`), the field at position l and the logit of id v are

        h_l = sum over m != l of J_lm s(x_m),    logit_lv = s(v) h_l.

    For V = 2 this is a network of spins: p(x_l = s | others) = sigmoid(2 s h_l). Without couplings of a position to
    itself the prediction is leave-one-out. A row is a fixed point of zero-temperature dynamics if x_l h_l > 0 at all l.

    Args:
        vocab_size: V, number of ids in noisy text, including the mask token.
    """

    parameterization = Parameterization.LEAVE_ONE_OUT
    code_VK: Tensor

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.register_buffer("code_VK", spin_code(vocab_size), persistent=False)

    @abstractmethod
    def couplings(self) -> Tensor:
        """Return the couplings J, float (M, M); entry (l K + i, m K + j) couples two positions. Blocks l = m are 0."""

    @override
    def forward(self, tokens_BL: Tensor, sigma_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return the fields (B, L, K). Padding has no effect on them.

        Raises:
            InputError: the rows have another length than the memory.
        """
        couplings_MM = self.couplings()
        spins_BM = self.spins(tokens_BL, valid_BL).to(couplings_MM.dtype)
        if spins_BM.shape[1] != len(couplings_MM):
            length = len(couplings_MM) // self.code_VK.shape[1]
            raise InputError(
                f"`model.backbone` is {type(self).__name__} for rows of {length} tokens, but the rows have "
                f"{tokens_BL.shape[1]}; give it the length of the rows, `data.packing.length`."
            )
        return (spins_BM @ couplings_MM.T).view(*tokens_BL.shape, -1)

    @override
    def head(self, hidden_ND: Tensor) -> Tensor:
        return hidden_ND @ self.code_VK.to(hidden_ND.dtype).T

    def spins(self, tokens_BL: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Return the codes of rows, float (B, M), 0 at padding."""
        spins_BLK = self.code_VK[tokens_BL]
        if valid_BL is not None:
            spins_BLK = spins_BLK * valid_BL[..., None]
        return spins_BLK.flatten(1)

    def asymmetry(self) -> float:
        """Return the share of the squared norm of J in its antisymmetric part, (J - J^T) / 2, in [0, 1].

        It is 0 for symmetric couplings, 1/2 on average for independent J_lm and J_ml, and 0 without couplings.
        """
        couplings_MM = self.couplings().detach().double()
        total = float((couplings_MM**2).sum())
        return float(((couplings_MM - couplings_MM.T) ** 2).sum()) / (4 * total) if total else 0.0

    def energy(self, tokens_BL: Tensor) -> Tensor:
        """Return the energies of rows, -1/2 sum over l, m of s(x_l) J_lm s(x_m), float64 (B,).

        Sequential dynamics at temperature 0 never raise it.

        Raises:
            ValueError: J is not symmetric, so that there is no energy.
        """
        if (asymmetry := self.asymmetry()) > ASYMMETRY_OF_ROUNDING:
            raise ValueError(f"There is no energy: the couplings are not symmetric (asymmetry {asymmetry:.2g}).")
        spins_BM = self.spins(tokens_BL).double()
        return -0.5 * ((spins_BM @ self.couplings().detach().double()) * spins_BM).sum(1)

    def guaranteed_flips(self, margin_BL: Tensor) -> Tensor:
        """Return the number of spins that may be wrong, whichever they are, for one parallel step to restore the row.

        The margin of a spin is ln p(x_l) - ln p(-x_l) = 2 x_l h_l. A wrong spin m changes it by at most 4 |J_lm|, so d
        wrong spins cannot change its sign if it is above 4 times the sum of the d largest |J_lm|. The number is the
        largest d for which this holds at all positions. It is a lower bound: dynamics restore rows with more wrong
        spins if their effects cancel, or in several steps.

        Args:
            margin_BL: margins in nats of the spins of rows, as `ClassificationMargin` takes them.

        Returns:
            int64 (B,), in [0, L]; -1 for a row with a margin of at most 0, which may be no fixed point.

        Raises:
            ValueError: the memory has other than two ids.

        Example:
            >>> from uddm_lightning.backbones import PseudoLikelihoodMemory
            >>> backbone = PseudoLikelihoodMemory(2, length=5)
            >>> _ = backbone.weight.data.fill_(1.0)  # all spins up is a fixed point with x_l h_l = 4
            >>> backbone.guaranteed_flips(torch.full((1, 5), 8.0))
            tensor([1])
        """
        if len(self.code_VK) != 2:
            raise ValueError(f"Only spins can be flipped: the memory has {len(self.code_VK)} ids, not 2.")
        strength_LL = self.couplings().detach().double().abs().sort(dim=1, descending=True).values
        change_LD = 4 * strength_LL.cumsum(1)
        kept_BLD = change_LD < margin_BL.double()[..., None]
        right_BL = torch.where(margin_BL > 0, kept_BLD.sum(2), -1)
        return right_BL.amin(1)

    def off_diagonal(self, length: int) -> Tensor:
        """Return a bool mask (M, M), False where both indices belong to the same position."""
        block = self.code_VK.shape[1]
        position_M = torch.arange(length * block, device=self.code_VK.device) // block
        return position_M[:, None] != position_M
