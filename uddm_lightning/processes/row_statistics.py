"""Statistics of predictions that need one pass over the logits.

Shapes: N tokens, V ids.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core.gradients import at_least_float32
from uddm_lightning.processes import fused


class RowStatistics(NamedTuple):
    """Statistics of the predictions p = softmax(logits), each (N,), in nats, in at least float32.

    Attributes:
        log_normaliser: ln sum_v exp(logit_v).
        entropy: - sum_v p_v ln p_v.
        log_probability: ln p at the given id.
        top: the largest ln p_v.
        second: the second largest ln p_v.
        top_id: int64, the smallest id with the largest p_v.
    """

    log_normaliser: Tensor
    entropy: Tensor
    log_probability: Tensor
    top: Tensor
    second: Tensor
    top_id: Tensor


def row_statistics(logits_NV: Tensor, ids_N: Tensor) -> RowStatistics:
    """Return statistics of predictions: by a fused kernel that reads the logits once, or by the plain formulas.

    Args:
        logits_NV: log-probabilities of at least two ids, up to a constant of each token; -inf is probability 0.
        ids_N: int64 ids whose log-probability is returned.

    Example:
        >>> import torch
        >>> from uddm_lightning.processes.row_statistics import row_statistics
        >>> found = row_statistics(torch.zeros(1, 2), torch.tensor([1]))
        >>> found.log_normaliser, found.log_probability
        (tensor([0.6931]), tensor([-0.6931]))
    """
    if fused.is_fused(logits_NV):
        found_5N, top_N = fused.statistics(fused.contiguous_rows(logits_NV), ids_N)
        normaliser_N, entropy_N, own_N, first_N, second_N = found_5N.unbind()
        return RowStatistics(normaliser_N, entropy_N, own_N, first_N, second_N, top_N)
    values_NV = at_least_float32(logits_NV)
    log_normaliser_N = values_NV.logsumexp(1)
    logp_NV = values_NV - log_normaliser_N[:, None]
    entropy_N = -torch.xlogy(logp_NV.exp(), logp_NV.exp()).sum(1)
    (top_N, second_N), top_id_N = logp_NV.topk(2, dim=1).values.unbind(1), logp_NV.argmax(1)
    own_N = logp_NV.gather(1, ids_N[:, None])[:, 0]
    return RowStatistics(log_normaliser_N, entropy_N, own_N, top_N, second_N, top_id_N)
