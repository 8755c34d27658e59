"""Token recovery on train, test and random rows."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.batch import Noised
from uddm_lightning.core.errors import check_at_least
from uddm_lightning.metrics import ClassificationMargin, TokenRecovery
from uddm_lightning.probes.base import Histogram, Probe, check_times
from uddm_lightning.probes.calibrated_recovery import CALIBRATED_COLUMNS, CalibratedRecovery
from uddm_lightning.probes.measured_batch import MeasuredBatch, margins, select
from uddm_lightning.probes.summary import SummaryColumn, cell, time_table
from uddm_lightning.results.declarations import Column, Scalar, TimeCurve, count, leading, share
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers.base import Sampler
from uddm_lightning.training.batch_notes import RestoredRows
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of

COLUMNS = (
    *leading(
        count("n_corrupted", "tokens", "counted tokens that the noise has changed"),
        count("n_recovered", "tokens", "corrupted tokens that the reverse chain restores"),
        share(
            "recovery", "share of corrupted tokens that the chain restores, n_recovered / n_corrupted", interval=True
        ),
        share("chance", "recovery that the exact unigram posterior reaches from the noisy token alone"),
        share("coincidence", "recovery of a chain that overwrites the row with unrelated text"),
        share(
            "bayes_argmax",
            "largest recovery of any chain, the mean largest probability of the exact posterior, where it is known",
        ),
        count("n_clean", "tokens", "counted tokens that the noise has left unchanged"),
        count("n_clean_changed", "tokens", "clean tokens that the chain changes"),
        share("clean_change_rate", "share of clean tokens that the chain changes, n_clean_changed / n_clean"),
        share("errors_before", "share of counted tokens that are wrong before the chain"),
        share("errors_after", "share of counted tokens that are wrong after the chain"),
        count("n_exact", "draws", "draws with corrupted tokens whose counted tokens all end right"),
        share("exact_match_rate", "share of draws with corrupted tokens whose counted tokens all end right"),
        Column(
            "margin",
            "nats",
            "mean classification margin of clean tokens, ln p(token) - ln p(likeliest other), at the smallest t",
        ),
    ),
    share("fixed_tokens", "share of clean tokens with a margin above 0"),
    share("fixed_rows", "fixed points: share of draws in which all counted tokens have a margin above 0"),
    Column(
        "hebbian_factor",
        "factor",
        "mean of 1 - tanh(margin / 2) over clean tokens, in [0, 2]: with two ids the share of Hebb's rule that is left "
        "in the gradient",
    ),
    *CALIBRATED_COLUMNS,
)
MARGINS = ("margin", "fixed_tokens", "fixed_rows", "hebbian_factor")
COSTS = (
    SummaryColumn("test rows: clean tokens changed", "clean_change_rate", "test"),
    SummaryColumn("wrong tokens: before", "errors_before", "test", width=21),
    SummaryColumn("after", "errors_after", "test"),
    SummaryColumn("recovery of the best estimate", "bayes_argmax", "test", width=30, optional=True),
)


class RecoveryProbe(Probe):
    """Corrupts rows at several t, runs the reverse chain and counts the tokens that it restores.

    It measures training rows, held-out rows and rows of uniform random tokens (split "random"), which are in no
    training set. It also measures the classification margin of the clean rows at the smallest t of training. A token
    is fixed if its margin is above 0; a row is a fixed point if all its tokens are fixed. A process that must mask a
    token to predict it is asked about one random token of each row.

    Recovery is sampled and is not a proper score: an overconfident model restores more corrupted tokens and changes
    more clean ones. Therefore the records also hold the share of clean tokens that the chain changes, the shares of
    wrong tokens before and after the chain, two levels of chains without knowledge of the row (`Process.chance` for the
    exact unigram model, `Process.coincidence` for unrelated text) and, if the backbone knows the distribution of the
    text, the level that no chain exceeds (`Process.bayes_argmax`).

    To compare chains, measure a checkpoint again with another sampler. Its rows stand beside those of the first chain.

    Args:
        times: times t in (0, 1] at which rows are corrupted.
        sampler: the chain; None takes the task's.
        include_special: count begin, end and separator positions too, as the paper does.
        num_reference_rows: rows to draw from each split at the time nearest to t = 0.1, at which regimes are judged;
            None takes `num_rows`. Validations before the last step do so if `num_rows_during_training` is given.
        calibrate: also fit the temperature T at which predictions p^(1 / T) have the smallest cross-entropy on
            corrupted tokens of test rows, at the t nearest to 0.1, and measure recovery of train and test rows at this
            T. Sharper predictions restore more tokens, so models compare better at the temperature of each.
        kwargs: arguments of `Probe`.
    """

    kind = "recovery"
    title = "Token recovery"
    reading = (
        "Compare train rows with test rows at the same t. A model that memorizes restores train rows and not test "
        "rows; a model that generalizes restores both alike. Compare test recovery with chance and coincidence, the "
        "levels of chains without knowledge of the row. Recovery is sampled and is not a proper score: read it "
        "together with errors_before, errors_after and clean_change_rate."
    )
    columns = COLUMNS
    scalars = (
        Scalar("recovery", front=("train", "test")),
        Scalar("recovery", "gap/t={t:g}", minus_test=True),
        *(Scalar(name, f"{name}/{{split}}", front=()) for name in MARGINS),
        *(Scalar(name, skip_nan=True, front=()) for name in ("chance", "coincidence")),
        *(Scalar(name, skip_nan=True, front=()) for name in ("clean_change_rate", "errors_before", "errors_after")),
        Scalar("bayes_argmax", skip_nan=True, monitored=False, front=()),
    )
    time_curve = TimeCurve(
        "recovery",
        "restored share of corrupted tokens",
        "token recovery",
        -0.02,
        1.02,
        (("chance", ":"), ("coincidence", "-.")),
    )
    summary_columns = (
        SummaryColumn("recovery: train", "recovery", "train"),
        SummaryColumn("test", "recovery", "test"),
        SummaryColumn("chance", "chance", "test"),
        SummaryColumn("coincidence", "coincidence", "test", width=12),
    )
    splits = ("train", "test", "random")

    def __init__(
        self,
        times: Sequence[float] = (0.05, 0.1, 0.25, 0.5, 1.0),
        sampler: Sampler | None = None,
        include_special: bool = False,
        num_reference_rows: int | None = None,
        calibrate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(1, "recovery.", num_reference_rows=num_reference_rows)
        self.times = check_times(times, "recovery.times")
        self.sampler = sampler
        self.include_special = include_special
        self.num_reference_rows = num_reference_rows
        self.num_reference_rows_during_training: int | None = None  # for callbacks that judge a gap on the way
        self.calibrate = calibrate
        self._calibrated = CalibratedRecovery()
        self.unigram_V: Tensor | None = None  # frequencies of ids in the pool; chance levels are NaN without them
        self._usual: int | None = None  # draws of this validation at all times but the reference
        self._at_reference: int | None = None  # draws of this validation at the reference

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self.unigram_V = data_of(trainer).unigram
        self._calibrated = CalibratedRecovery()
        more = self.num_reference_rows_during_training if self._fewer else self.num_reference_rows
        self._usual, self._at_reference = self._limit, self._limit if more is None else more
        if self._limit is not None and self._at_reference is not None:
            self._limit = max(self._limit, self._at_reference)

    on_test_start = on_validation_start

    def limit(self, split: str, t: float) -> int | None:
        """Return the number of draws of this validation at a time; None is all."""
        if self.takes_all(split):
            return None
        return self._at_reference if t == reference(self.times) else self._usual

    @override
    def measure(self, at: MeasuredBatch) -> None:
        task, notes = at.task, at.notes
        sampler = self.sampler or task.sampler
        unigram_V = None if self.unigram_V is None else self.unigram_V.to(task.device)
        metrics = [self.metric(at, TokenRecovery, t) for t in self.times]  # also where a rank has no draw of a time
        parts = [_first(at, self.limit(at.split, t)) for t in self.times]
        noised = []
        for t, part in zip(self.times, parts, strict=True):
            t_B = torch.full_like(part.batch.rows_B, t, dtype=torch.float64)
            noised.append(task.process.corrupt(part.batch.tokens_BL, t_B, part.batch.keys_B, part.batch.valid_BL))
        # the chains from every t share one batch as soon as they have begun
        x0_NL, xt_NL = torch.cat([one.x0_BL for one in noised]), torch.cat([one.xt_BL for one in noised])
        valid = [one.valid_BL for one in noised if one.valid_BL is not None]
        keys_N = torch.cat([one.batch.keys_B for one in parts])
        valid_NL = torch.cat(valid) if valid else None
        xhat_NL = sampler(at.denoiser, xt_NL, torch.cat([one.t_B for one in noised]), keys_N, valid_NL, xt_NL == x0_NL)
        ends = torch.split(xhat_NL, [len(one.xt_BL) for one in noised])
        for t, metric, part, one, xhat_BL in zip(self.times, metrics, parts, noised, ends, strict=True):
            x0_BL = one.x0_BL
            alpha_N = one.alpha_B.repeat_interleave(x0_BL.shape[1])
            chance_N = torch.full_like(alpha_N, torch.nan)
            if unigram_V is not None:
                chance_N = task.process.chance(x0_BL.flatten(), one.xt_BL.flatten(), alpha_N, unigram_V)
            chance_BL, bayes_BL = chance_N.view_as(x0_BL), self._bayes(part, one)
            metric.update(x0_BL, one.xt_BL, xhat_BL, part.counted_BL, part.ids, chance_BL, bayes_BL)
            notes.restored[t] = RestoredRows(one.xt_BL, xhat_BL)
            if self.calibrate and t == reference(self.times):
                self._calibrated.add(part, one, chance_BL)
        notes.sampler, notes.batch = sampler, at.batch

        margin = self.metric(at, ClassificationMargin)
        usual = _first(at, None if self.takes_all(at.split) else self._usual)
        if len(usual.batch.rows_B):
            margin.update(*margins(usual), usual.ids)

    def _bayes(self, at: MeasuredBatch, noised: Noised) -> Tensor | None:
        """Return the largest probability of any id at each token (B, L), if the backbone knows the distribution."""
        if at.split not in at.denoiser.backbone.exact_splits or not len(noised.xt_BL):
            return None

        def largest(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor]:
            return (at.task.process.bayes_argmax(logits_CV, xt_C),)

        return at.denoiser(largest, noised.xt_BL, noised.t_B, at.batch.valid_BL)[0]

    @override
    def record_keys(self, task: DiffusionTask) -> Iterable[Record]:
        return [{"metric": self.kind, "t": t} for t in self.times]

    @override
    def summary_lines(self, records: Sequence[Record]) -> list[str]:
        fixed = {record["split"]: record for record in records if "fixed_rows" in record}
        shares = ", ".join(f"{s} {cell(r['fixed_tokens'])} / {cell(r['fixed_rows'])}" for s, r in fixed.items())
        lines = [f"   fixed points, share of tokens / of rows: {shares}"] if fixed else []
        lines += [_calibrated_line(record) for record in records if "temperature" in record]
        return [*time_table([(COSTS, [record for record in records if record["split"] == "test"])]), *lines]

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        sampler = self.sampler or task.sampler
        calibrated = dict(self._calibrated.records(sampler))
        self._calibrated = CalibratedRecovery()
        for split, weights in dict.fromkeys(key[:2] for key in self.collected):
            coincidence = math.nan
            if (unigram_V := self.unigram_V) is not None:
                text_V = torch.full_like(unigram_V, 1 / len(unigram_V)) if split == "random" else unigram_V
                coincidence = task.process.coincidence(unigram_V, text_V, sampler.is_argmax)
            about = {"split": split, "weights": weights, "sampler": sampler.name, "sampler_steps": sampler.steps}
            margin = self.collected[split, weights].compute()
            histogram = Histogram(margin.edges, margin.histogram)
            for t in self.times:
                fields = self.collected[split, weights, t].compute()._asdict()
                draws = fields.pop("draws")
                least = dict(zip(margin.draws["draw"].tolist(), margin.draws["margin"].tolist(), strict=True))
                yield {
                    **about,
                    "t": t,
                    **fields,
                    "coincidence": coincidence,
                    **{name: getattr(margin, name) for name in MARGINS},
                    **(calibrated.get((split, weights), {}) if t == reference(self.times) else {}),
                    "_histograms": {"margin/{split}": histogram} if t == self.times[0] else {},
                    "_draws": {**draws, "margin": [least.get(place, math.nan) for place in draws["draw"].tolist()]},
                }


def _calibrated_line(record: Record) -> str:
    about = f"recovery of {record['split']} rows"
    if math.isnan(record["temperature"]):
        return f"   {about} at the fitted temperature: none from 1/4 to 32 fits test rows at t = {record['t']:g}"
    temperature = f"{record['temperature']:.3g} and t = {record['t']:g}"
    return f"   {about} at the fitted temperature {temperature}: {cell(record['recovery_calibrated'])}"


def _first(at: MeasuredBatch, limit: int | None) -> MeasuredBatch:
    """Return the rows of a batch that are among the first `limit` draws; they come first, since places ascend."""
    if limit is None:
        return at
    kept_B = at.batch.places_B < limit
    return at._replace(batch=select(at.batch, kept_B), counted_BL=at.counted_BL[kept_B])
