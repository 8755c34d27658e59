"""Entropies of predictions and of samples, token by token.

Shapes: B rows, L positions, C tokens of a chunk, V ids.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from uddm_lightning.metrics import functional as F
from uddm_lightning.metrics.neighbours import unigram_entropy
from uddm_lightning.samplers.denoiser import Denoiser


class SampleEntropies(NamedTuple):
    """Entropies of samples.

    Attributes:
        entropy_BL: entropy of the leave-one-out prediction of each token on the clean sample, in nats.
        unigram_entropy_B: entropy of the frequencies of ids within a sample, in nats.
    """

    entropy_BL: Tensor
    unigram_entropy_B: Tensor


def entropies(denoiser: Denoiser, xt_BL: Tensor, t_B: Tensor, valid_BL: Tensor | None = None) -> Tensor:
    """Return the entropy of the leave-one-out prediction of each token, in nats (B, L).

    It is undefined at tokens outside `Process.prediction_mask`.

    Args:
        denoiser: predictions of the weights.
        xt_BL: int64 noisy ids.
        t_B: times in [0, 1].
        valid_BL: False at padding; None if every position is valid.
    """
    return denoiser(_entropy, xt_BL, t_B, valid_BL)[0]


def sample_entropies(denoiser: Denoiser, tokens_BL: Tensor, t: float) -> SampleEntropies:
    """Return the entropies of samples without padding, measured at time t in [0, 1].

    A process that predicts masked tokens only is measured with one position after the other masked.
    """
    t_B = torch.full((len(tokens_BL),), t, dtype=torch.float64, device=tokens_BL.device)
    if bool(denoiser.process.prediction_mask(tokens_BL).all()):
        entropy_BL = entropies(denoiser, tokens_BL, t_B)
    else:
        columns = []
        for position in range(tokens_BL.shape[1]):
            position_B = torch.full_like(tokens_BL[:, 0], position)
            masked_BL = denoiser.process.mask_position(tokens_BL, position_B)
            columns.append(F.entropy(denoiser.predict_at(masked_BL, position_B, t_B, None)))
        entropy_BL = torch.stack(columns, 1)
    return SampleEntropies(entropy_BL, unigram_entropy(tokens_BL, torch.ones_like(tokens_BL, dtype=torch.bool)))


def _entropy(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor]:
    return (F.entropy(logits_CV),)
