"""One batch under measurement, and operations on it that several probes share.

Shapes: B rows, L positions.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream, integers
from uddm_lightning.metrics import RowIds
from uddm_lightning.metrics import functional as F
from uddm_lightning.samplers import Observer
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.batch_notes import BatchNotes
from uddm_lightning.training.task import DiffusionTask, Weights


class MeasuredBatch(NamedTuple):
    """One batch under one kind of weights.

    Attributes:
        task: the model's process, objective and sampler.
        denoiser: predictions of the weights under measurement.
        batch: rows, without fillers; a rank without any row measures one filler.
        counted_BL: positions that count: no padding, and no special positions unless these are included.
        split: "train", "test", "samples" or "random".
        weights: which weights `denoiser` holds.
        notes: results on this batch, for the callbacks that run after the probe.
        population: number of rows of the split if all of them may be measured; None if the rows are a sample.
    """

    task: DiffusionTask
    denoiser: Denoiser
    batch: TokenBatch
    counted_BL: Tensor
    split: str
    weights: Weights
    notes: BatchNotes
    population: int | None = None

    @property
    def ids(self) -> RowIds:
        """Ids of the rows and of their draws."""
        return RowIds(self.batch.rows_B, self.batch.documents_B, self.batch.places_B)


def select(batch: TokenBatch, kept_B: Tensor) -> TokenBatch:
    """Return the rows of a batch where `kept_B` is true."""
    if bool(kept_B.all()):
        return batch
    fields: list[Any] = [value[kept_B] if isinstance(value, Tensor) else value for value in batch]
    return TokenBatch(*fields)


def drawn(at: MeasuredBatch, observe: Observer | None = None) -> TokenBatch:
    """Return the batch with rows that the task's chain has drawn from its pure noise, from t = 1 on.

    Rows are drawn once for all probes, unless a later probe needs more of them or observes the chain.
    """
    batch, samples_BL = at.batch, at.notes.samples_BL
    if observe is not None or samples_BL is None or len(samples_BL) < len(batch.tokens_BL):
        samples_BL = at.task.sampler.sample(at.denoiser, batch.tokens_BL, batch.keys_B, observe)
        at.notes.samples_BL, at.notes.sampler = samples_BL, at.task.sampler
    # a probe with a limit takes the first draws of a batch
    return batch._replace(tokens_BL=samples_BL[: len(batch.tokens_BL)])


def margins(at: MeasuredBatch) -> tuple[Tensor, Tensor]:
    """Return the classification margins of the clean rows in nats, (B, L), and a bool mask of those that count, (B, L).

    They are taken at the smallest t of training, so that nothing is extrapolated. All counted tokens have a margin, or
    one random token of each row for a process that must mask a token to predict it.
    """
    x0_BL, process = at.batch.tokens_BL, at.task.process
    t_B = torch.full((len(x0_BL),), at.task.objective.t_min, dtype=torch.float64, device=x0_BL.device)
    shown_BL = process.mask_position(x0_BL, one_position(at.batch, at.counted_BL))
    margin_BL = at.denoiser(_margin, shown_BL, t_B, at.batch.valid_BL, x0_BL)[0]
    return margin_BL, at.counted_BL & process.prediction_mask(shown_BL)


def _margin(logits_CV: Tensor, xt_C: Tensor, x0_C: Tensor) -> tuple[Tensor]:
    return (F.margin(logits_CV, x0_C),)


def one_position(batch: TokenBatch, counted_BL: Tensor) -> Tensor:
    """Return a random counted position of each row, int64 (B,), by the row's key; 0 if no position counts."""
    positions = torch.arange(counted_BL.shape[1], device=counted_BL.device)
    order_BL = integers(2**31, batch.keys_B[:, None], Stream.PROBE, positions)
    return order_BL.where(counted_BL, order_BL.new_tensor(-1)).argmax(1)
