"""Results of probes on a batch, for the callbacks that run after them on the same batch.

Shapes: B rows, L positions.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.samplers.base import Sampler


class RestoredRows(NamedTuple):
    """Rows before and after the reverse chain, from one corruption time.

    Attributes:
        xt_BL: corrupted ids, int64 (B, L).
        xhat_BL: restored ids, int64 (B, L).
    """

    xt_BL: Tensor
    xhat_BL: Tensor


@dataclass
class BatchNotes:
    """Results on one batch under one kind of weights, shared between probes.

    `DiffusionTask.validation_step` makes new notes for every batch. A probe writes them, later callbacks read them.

    Attributes:
        sampler: the chain behind `samples_BL` or `restored`; None if no chain was run.
        samples_BL: rows that the model has drawn from pure noise, int64 (B, L).
        batch: clean rows that `restored` belongs to.
        restored: by corruption time t; a time may have fewer rows than `batch`, always its first ones.
        entropy_BL: entropy of each token in nats, by corruption time t; NaN where the process predicts nothing.
    """

    sampler: Sampler | None = None
    samples_BL: Tensor | None = None
    batch: TokenBatch | None = None
    restored: dict[float, RestoredRows] = field(default_factory=dict)
    entropy_BL: dict[float, Tensor] = field(default_factory=dict)
