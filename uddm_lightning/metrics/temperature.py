"""Calibration: the temperature at which predictions have the smallest cross-entropy.

Shapes: B rows, L positions, N tokens, V ids, K temperatures.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.metrics.rowwise import ORIGIN, RowIds, RowwiseMetric, masked_sum

TEMPERATURES = tuple(2.0 ** (place / 8) for place in range(-16, 41))  # 1/4 to 32
_NAMES = tuple(f"cross_entropy_{place}" for place in range(len(TEMPERATURES)))


def tempered_cross_entropies(logits_NV: Tensor, x0_N: Tensor) -> tuple[Tensor, ...]:
    """Return - ln p(x_0) in nats for predictions p = softmax(logits / T), one tensor (N,) for each T of `TEMPERATURES`.

    Args:
        logits_NV: log-probabilities up to a constant of each token; -inf is probability 0.
        x0_N: int64 clean ids.

    Example:
        >>> losses = tempered_cross_entropies(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
        >>> round(losses[TEMPERATURES.index(1.0)].item(), 4)  # ln(1 + e^-2)
        0.1269
    """
    return tuple(torch.nn.functional.cross_entropy(logits_NV / T, x0_N, reduction="none") for T in TEMPERATURES)


def best_temperature(cross_entropy_K: Sequence[float]) -> float:
    """Return the temperature of the smallest cross-entropy, from its values at `TEMPERATURES`.

    A parabola in ln T through the smallest value and its neighbours gives the minimum between two temperatures.

    Returns:
        T in (1/4, 32); NaN if the smallest value is the first or the last one, or a value is not known.

    Example:
        >>> round(best_temperature([math.log(T / 1.5) ** 2 for T in TEMPERATURES]), 6)
        1.5
    """
    values_K = np.asarray(cross_entropy_K, np.float64)
    if np.isnan(values_K).any() or (place := int(values_K.argmin())) in (0, len(values_K) - 1):
        return math.nan
    before, least, after = values_K[place - 1 : place + 2]
    width = math.log(TEMPERATURES[1] / TEMPERATURES[0])
    return math.exp(math.log(TEMPERATURES[place]) + width / 2 * (before - after) / (before - 2 * least + after))


class BestTemperature(RowwiseMetric):
    """Average the cross-entropy over the masked tokens at each temperature, and find the smallest.

    Corrupted tokens suit it: whether a token is corrupted does not depend on its clean id, so that an ideal
    leave-one-out prediction has the smallest cross-entropy at T = 1 on these tokens, too. Source: Guo et al. 2017,
    arXiv 1706.04599 (temperature scaling).

    Example:
        >>> metric = BestTemperature()
        >>> logits_NV, x0_N = torch.tensor([[2.0, 0.0]]).expand(10, 2), torch.tensor([0] * 7 + [1] * 3)
        >>> losses = [loss_N[None] for loss_N in tempered_cross_entropies(logits_NV, x0_N)]
        >>> metric.update(losses, torch.ones(1, 10).bool(), RowIds(torch.tensor([0])))
        >>> round(metric.compute(), 1)  # 2 / ln(0.7 / 0.3)
        2.4
    """

    def __init__(self) -> None:
        super().__init__()
        self.declare("draws", *_NAMES, "tokens", *ORIGIN)

    @override
    def update(self, losses_KBL: Sequence[Tensor], mask_BL: Tensor, ids: RowIds) -> None:
        """Add a batch.

        Args:
            losses_KBL: cross-entropy of each token (B, L) at each of `TEMPERATURES`; read under the mask only.
            mask_BL: bool, True at tokens to count.
            ids: ids of the rows and of their draws.
        """
        sums = [masked_sum(loss_BL, mask_BL) for loss_BL in losses_KBL]
        self.record_draws("draws", ids, *sums, mask_BL.sum(1))

    @override
    def compute(self) -> float:
        """Return the temperature; NaN without any token, or outside of (1/4, 32)."""
        sums = self.per_unit("draws").sums
        tokens = float(sums["tokens"].sum())
        return best_temperature([float(sums[name].sum()) / tokens if tokens else math.nan for name in _NAMES])
