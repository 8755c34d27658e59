"""Token recovery: the width of the basins of attraction around training and test rows."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.batch import Noised
from uddm_lightning.callbacks.probe import MeasuredBatch, Probe, check_times, margins
from uddm_lightning.metrics import ClassificationMargin, TokenRecovery
from uddm_lightning.samplers.base import Sampler
from uddm_lightning.tables import Record
from uddm_lightning.task import DiffusionTask
from uddm_lightning.trainer import data_of


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
        draws: see `Probe`.
        draws_on_the_way: see `Probe`.
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
        draws: int | None = None,
        draws_on_the_way: int | None = None,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, draws, draws_on_the_way, enabled)
        self.times = check_times(times, "recovery.times")
        self.sampler = sampler
        self.include_special = include_special

    @override
    def measure(self, at: MeasuredBatch) -> None:
        task, batch, counted_BL, board = at.task, at.batch, at.counted_BL, at.board
        sampler = self.sampler or task.sampler
        unigram_V = data_of(task.trainer).unigram.to(task.device)
        x0_BL = batch.tokens_BL
        t_TB = torch.tensor(self.times, dtype=torch.float64, device=x0_BL.device)[:, None].expand(-1, len(x0_BL))
        noised = [task.process.corrupt(x0_BL, t_B, batch.keys_B, batch.valid_BL) for t_B in t_TB]
        # the chains from every t share one batch as soon as they have begun
        xt_NL = torch.cat([one.xt_BL for one in noised])
        valid_NL = None if batch.valid_BL is None else batch.valid_BL.repeat(len(noised), 1)
        clean_NL, keys_N = xt_NL == x0_BL.repeat(len(noised), 1), batch.keys_B.repeat(len(noised))
        xhat_NL = sampler(at.denoiser, xt_NL, t_TB.flatten(), keys_N, valid_NL, clean_NL)
        for t, one, xhat_BL in zip(self.times, noised, xhat_NL.view(len(noised), *x0_BL.shape), strict=True):
            alpha_N = one.alpha_B.repeat_interleave(x0_BL.shape[1])
            chance_N = task.process.chance(x0_BL.flatten(), one.xt_BL.flatten(), alpha_N, unigram_V)
            metric = self.metric(at, TokenRecovery, t)
            rows_B, *origin_B = at.draws
            chance_BL, bayes_BL = chance_N.view_as(x0_BL), self._bayes(at, one)
            metric.update(x0_BL, one.xt_BL, xhat_BL, counted_BL, rows_B, chance_BL, *origin_B, bayes_BL)
            board["corrupted", t] = one.xt_BL
            board["restored", t] = xhat_BL
        board.update(chain=sampler.chain, steps=sampler.steps, x0=x0_BL, rows=batch.rows_B, places=batch.places_B)

        self.metric(at, ClassificationMargin).update(*margins(at), *at.draws)

    def _bayes(self, at: MeasuredBatch, noised: Noised) -> Tensor | None:
        """Largest probabilities of the ids of corrupted tokens (B, L), where the backbone knows the law of the text."""
        if at.split not in at.denoiser.backbone.exact_splits:
            return None

        def largest(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor]:
            return (at.task.process.bayes_argmax(logits_CV, xt_C),)

        return at.denoiser(largest, noised.xt_BL, noised.t_B, at.batch.valid_BL)[0]

    @override
    def conclude(self, task: DiffusionTask) -> Iterable[Record]:
        sampler = self.sampler or task.sampler
        unigram_V = data_of(task.trainer).unigram
        for split, weights in dict.fromkeys(key[:2] for key in self._metrics):
            text_V = torch.full_like(unigram_V, 1 / len(unigram_V)) if split == "random" else unigram_V
            margin = self._metrics[split, weights].compute()
            for t in self.times:
                fields = self._metrics[split, weights, t].compute()._asdict()
                draws = fields.pop("draws")
                least = dict(zip(margin.draws["draw"].tolist(), margin.draws["margin"].tolist(), strict=True))
                yield {
                    "split": split,
                    "weights": weights,
                    "t": t,
                    "chain": sampler.chain,
                    "steps": sampler.steps,
                    **fields,
                    "coincidence": task.process.coincidence(unigram_V, text_V, sampler.likeliest),
                    "margin": margin.margin,
                    "fixed_tokens": margin.fixed_tokens,
                    "fixed_rows": margin.fixed_rows,
                    "_margin": margin,
                    "_draws": {**draws, "margin": [least[place] for place in draws["draw"].tolist()]},
                }
