"""Token recovery: the width of the basins of attraction around training and test rows."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import Noised
from uddm_lightning.metrics import ClassificationMargin, TokenRecovery
from uddm_lightning.probes.base import MeasuredBatch, Probe, check_times, margins, select
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers.base import Sampler
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of

REFERENCE = 0.1  # the time at which verdicts are reached


class RecoveryProbe(Probe):
    """Corrupts rows at several t, runs the reverse chain and counts the tokens that come back.

    It does so on training rows, on held-out rows, and on rows of uniform random tokens (split "random"), which nobody
    has ever stored. With each batch goes the classification margin of the clean text, at the smallest t of training:
    a token whose margin is above 0 is fixed, a row of which all tokens are is a fixed point. Where a process must hide
    a token to be asked about it, that is one random token of each row.

    Recovery is a sampled quantity and no proper score: predictions that are too sure of themselves restore more tokens,
    and change more that were right. Beside it stand therefore the share of clean tokens changed and the shares of
    tokens that were wrong before and after the chain; two levels of chains that know little (`Process.chance`, the
    exact unigram model, and `Process.coincidence`, unrelated text); and, where the backbone knows the law of the text,
    what no chain exceeds (`Process.bayes_argmax`).

    To compare chains, measure a checkpoint once more with another sampler: its rows stand beside those of the first,
    told apart by their chain.

    Args:
        times: times t in (0, 1] at which rows are corrupted.
        sampler: the chain; None takes the task's.
        include_special: count begin, end and separator positions too, as the paper does.
        weights: see `Probe`.
        num_rows: see `Probe`.
        num_rows_during_training: see `Probe`.
        num_reference_rows: rows to draw from each split at the time nearest 0.1, at which verdicts are reached; None
            takes `num_rows`. Validations on the way with draws of their own leave it out.
        enabled: see `Probe`.
    """

    kind = "recovery"
    splits = ("train", "test", "random")

    def __init__(
        self,
        times: Sequence[float] = (0.05, 0.1, 0.25, 0.5, 1.0),
        sampler: Sampler | None = None,
        include_special: bool = False,
        weights: Sequence[Literal["ema", "raw"]] = ("ema",),
        num_rows: int | None = None,
        num_rows_during_training: int | None = None,
        num_reference_rows: int | None = None,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, num_rows, num_rows_during_training, enabled)
        if num_reference_rows is not None and num_reference_rows < 1:
            raise ValueError(f"`recovery.num_reference_rows` must be at least 1, got {num_reference_rows}.")
        self.times = check_times(times, "recovery.times")
        self.sampler = sampler
        self.include_special = include_special
        self.num_reference_rows = num_reference_rows
        self.unigram_V: Tensor | None = None  # frequencies of ids in the pool; chance levels are NaN without them
        self._usual: int | None = None  # draws of this validation at all times but the reference

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self.unigram_V = data_of(trainer).unigram
        self._usual = self._limit
        if not self._fewer and self.num_reference_rows is not None and self._usual is not None:
            self._limit = max(self._usual, self.num_reference_rows)

    on_test_start = on_validation_start

    def limit(self, split: str, t: float) -> int | None:
        """Draws of this validation at a time; None is all."""
        if self.takes_all(split):
            return None
        more = not self._fewer and self.num_reference_rows is not None
        return self.num_reference_rows if more and t == min(self.times, key=_from_reference) else self._usual

    @override
    def measure(self, at: MeasuredBatch) -> None:
        task, batch, board = at.task, at.batch, at.board
        sampler = self.sampler or task.sampler
        unigram_V = None if self.unigram_V is None else self.unigram_V.to(task.device)
        metrics = [self.metric(at, TokenRecovery, t) for t in self.times]  # also where a rank has no draw of a time
        parts = [_first(at, self.limit(at.split, t)) for t in self.times]
        t_P = [
            torch.full_like(one.batch.rows_B, t, dtype=torch.float64) for t, one in zip(self.times, parts, strict=True)
        ]
        noised = [
            task.process.corrupt(one.batch.tokens_BL, t_B, one.batch.keys_B, one.batch.valid_BL)
            for t_B, one in zip(t_P, parts, strict=True)
        ]
        # the chains from every t share one batch as soon as they have begun
        x0_NL, xt_NL = torch.cat([one.x0_BL for one in noised]), torch.cat([one.xt_BL for one in noised])
        valid = [one.valid_BL for one in noised if one.valid_BL is not None]
        keys_N = torch.cat([one.batch.keys_B for one in parts])
        valid_NL = torch.cat(valid) if valid else None
        xhat_NL = sampler(at.denoiser, xt_NL, torch.cat(t_P), keys_N, valid_NL, xt_NL == x0_NL)
        ends = torch.split(xhat_NL, [len(one.xt_BL) for one in noised])
        for t, metric, part, one, xhat_BL in zip(self.times, metrics, parts, noised, ends, strict=True):
            x0_BL = one.x0_BL
            alpha_N = one.alpha_B.repeat_interleave(x0_BL.shape[1])
            chance_N = torch.full_like(alpha_N, torch.nan)
            if unigram_V is not None:
                chance_N = task.process.chance(x0_BL.flatten(), one.xt_BL.flatten(), alpha_N, unigram_V)
            rows_B, *origin_B = part.draws
            chance_BL, bayes_BL = chance_N.view_as(x0_BL), self._bayes(part, one)
            metric.update(x0_BL, one.xt_BL, xhat_BL, part.counted_BL, rows_B, chance_BL, *origin_B, bayes_BL)
            board["corrupted", t] = one.xt_BL
            board["restored", t] = xhat_BL
        board.update(sampler=sampler.name, sampler_steps=sampler.steps)
        board.update(x0=batch.tokens_BL, rows=batch.rows_B, places=batch.places_B)

        margin, usual = (
            self.metric(at, ClassificationMargin),
            _first(at, None if self.takes_all(at.split) else self._usual),
        )
        if len(usual.batch.rows_B):
            margin.update(*margins(usual), *usual.draws)

    def _bayes(self, at: MeasuredBatch, noised: Noised) -> Tensor | None:
        """Largest probabilities of the ids of corrupted tokens (B, L), where the backbone knows the law of the text."""
        if at.split not in at.denoiser.backbone.exact_splits or not len(noised.xt_BL):
            return None

        def largest(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor]:
            return (at.task.process.bayes_argmax(logits_CV, xt_C),)

        return at.denoiser(largest, noised.xt_BL, noised.t_B, at.batch.valid_BL)[0]

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        sampler = self.sampler or task.sampler
        for split, weights in dict.fromkeys(key[:2] for key in self._metrics):
            coincidence = math.nan
            if (unigram_V := self.unigram_V) is not None:
                text_V = torch.full_like(unigram_V, 1 / len(unigram_V)) if split == "random" else unigram_V
                coincidence = task.process.coincidence(unigram_V, text_V, sampler.is_argmax)
            margin = self._metrics[split, weights].compute()
            for t in self.times:
                fields = self._metrics[split, weights, t].compute()._asdict()
                draws = fields.pop("draws")
                least = dict(zip(margin.draws["draw"].tolist(), margin.draws["margin"].tolist(), strict=True))
                yield {
                    "split": split,
                    "weights": weights,
                    "t": t,
                    "sampler": sampler.name,
                    "sampler_steps": sampler.steps,
                    **fields,
                    "coincidence": coincidence,
                    "margin": margin.margin,
                    "fixed_tokens": margin.fixed_tokens,
                    "fixed_rows": margin.fixed_rows,
                    "_margin": margin,
                    "_draws": {**draws, "margin": [least.get(place, math.nan) for place in draws["draw"].tolist()]},
                }


def _from_reference(t: float) -> float:
    return abs(t - REFERENCE)


def _first(at: MeasuredBatch, limit: int | None) -> MeasuredBatch:
    """The part of a batch that is among the first `limit` draws: its first rows, for places ascend."""
    if limit is None:
        return at
    kept_B = at.batch.places_B < limit
    return at._replace(batch=select(at.batch, kept_B), counted_BL=at.counted_BL[kept_B])
