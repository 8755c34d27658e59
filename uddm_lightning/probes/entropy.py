"""Conditional entropy of the leave-one-out predictions."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.keyed_random import Stream, integers
from uddm_lightning.core.progress import progress
from uddm_lightning.metrics import ConditionalEntropy, RowIds
from uddm_lightning.metrics import functional as F
from uddm_lightning.probes.base import Histogram, Probe, check_times
from uddm_lightning.probes.entropies import entropies
from uddm_lightning.probes.measured_batch import MeasuredBatch, one_position
from uddm_lightning.probes.summary import SummaryColumn
from uddm_lightning.results.declarations import Column, Scalar, TimeCurve, leading, nats
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask

ILL_CONDITIONED = 0.1  # below this t, the token itself nearly determines the posterior

COLUMNS = leading(
    nats(
        "entropy",
        "conditional entropy: mean entropy of the leave-one-out prediction p(x0 | all other positions)",
        interval=True,
    ),
    nats("entropy_corrupted", "entropy at corrupted tokens"),
    nats("entropy_clean", "entropy at tokens that the noise has left unchanged"),
    nats("entropy_recovered", "entropy at corrupted tokens that the chain restores"),
    nats("entropy_unrecovered", "entropy at corrupted tokens that the chain does not restore"),
    nats("entropy_leave_one_out", "entropy on uncorrupted rows, at the smallest t of training"),
    Column(
        "self_token_influence",
        "total variation",
        "own-token leak: change of a prediction if only its own token is redrawn; 0 for exact leave-one-out ones",
        0.0,
        1.0,
        interval=True,
    ),
)
LEAK = ("self_token_influence", "self_token_influence_low", "self_token_influence_high")


class EntropyProbe(Probe):
    """Measures the entropy of the leave-one-out prediction at several t, in nats, and of the clean text.

    It measures training rows, held-out rows and rows that the model draws itself (split "samples"), which need no text.

    Tokens without a prediction (those that an absorbing process has not masked) do not count; their entropy is NaN in
    the notes for the table of sequences.

    If a `RecoveryProbe` measured the same batch at the same t before, corrupted tokens are split by whether they were
    restored.

    Args:
        times: times t in (0, 1] at which rows are corrupted. Below the objective's t_min the network extrapolates.
        include_special: count begin, end and separator positions too, as the paper does.
        kwargs: arguments of `Probe`.
    """

    kind = "entropy"
    title = "Conditional entropy"
    reading = (
        "Near 0 on rows that the model has memorized, and also on text that is easy to predict; larger if the model "
        "generalizes. On the model's own samples it needs no text. It is extrapolated below the trained range of t, "
        "and exact only if self_token_influence is 0."
    )
    columns = COLUMNS
    scalars = (
        Scalar("entropy", front=("train", "test")),
        Scalar("entropy_leave_one_out", "leave_one_out/{split}", front=()),
        Scalar("self_token_influence", "leak/{split}", front=()),
    )
    time_curve = TimeCurve("entropy", "entropy of each token", "conditional entropy [nats]", -0.05)
    summary_columns = (
        SummaryColumn("entropy [nats]: train", "entropy", "train"),
        SummaryColumn("test", "entropy", "test"),
        SummaryColumn("samples", "entropy", "samples", optional=True),
    )
    splits = ("train", "test", "samples")

    def __init__(
        self,
        times: Sequence[float] = (1e-5, 0.05, 0.1, 0.25, 0.5, 1.0),
        include_special: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.times = check_times(times, "entropy.times")
        self.include_special = include_special
        # chain and number of steps that split the tokens by recovery, or that drew the rows
        self._chains: dict[str, tuple[str, int | None]] = {}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self.enabled or not isinstance(pl_module, DiffusionTask):
            return
        objective = pl_module.objective
        outside = [t for t in self.times if t < objective.t_min]
        if outside and pl_module.parameter_count:
            rank_zero_info(
                f"Entropy at t = {outside} is extrapolation: the network is trained on t >= {objective.t_min} only."
            )
        if pl_module.parameterization.conditions_on_own_token and self.times[0] < ILL_CONDITIONED:
            rank_zero_info(
                f"{type(objective).__name__} learns the posterior; its conversion to leave-one-out predictions is "
                f"ill-conditioned below t = {ILL_CONDITIONED}, so read entropies there with care."
            )

    @override
    def measure(self, at: MeasuredBatch) -> None:
        task, batch, counted_BL, notes = at.task, at.batch, at.counted_BL, at.notes
        x0_BL = batch.tokens_BL
        metric_of = {t: self.metric(at, ConditionalEntropy, t, vocab_size=task.process.vocab_size) for t in self.times}
        for t in progress(self.times, f"entropy, {at.split}"):
            t_B = torch.full((len(x0_BL),), t, dtype=torch.float64, device=x0_BL.device)
            xt_BL = task.process.corrupt(x0_BL, t_B, batch.keys_B, batch.valid_BL).xt_BL
            entropy_BL = entropies(at.denoiser, xt_BL, t_B, batch.valid_BL)
            predicted_BL = task.process.prediction_mask(xt_BL)
            notes.entropy_BL[t] = entropy_BL.where(predicted_BL, torch.nan)
            # a recovery probe may have measured fewer draws of this batch: its first ones
            restored_BL = notes.restored[t].xhat_BL[: len(x0_BL)] if t in notes.restored else x0_BL[:0]
            update = metric_of[t].update
            for part, recovered_BL in (
                (slice(0, len(restored_BL)), restored_BL == x0_BL[: len(restored_BL)]),
                (slice(len(restored_BL), None), None),
            ):
                if len(x0_BL[part]):
                    corrupted_BL = xt_BL[part] != x0_BL[part]
                    asked_BL = (counted_BL & predicted_BL)[part]
                    ids = RowIds._make(None if one_B is None else one_B[part] for one_B in at.ids)
                    update(entropy_BL[part], corrupted_BL, asked_BL, ids, recovered_BL)
        # a recovery probe with fewer draws leaves no chain on the later batches
        none = self._chains.get(at.split, ("", None))
        self._chains[at.split] = (notes.sampler.name, notes.sampler.steps) if notes.sampler else none
        self._measure_clean(at, metric_of[self.times[0]])

    def _measure_clean(self, at: MeasuredBatch, metric: ConditionalEntropy) -> None:
        """Measure the entropy of the clean text, and the change of a prediction when only its own token is redrawn.

        A process that must mask a token to predict it is measured at one position of each row. The redrawn token is
        masked there, so that the leak is 0.
        """
        task, batch, counted_BL = at.task, at.batch, at.counted_BL
        process, x0_BL = task.process, batch.tokens_BL
        t_B = torch.full((len(x0_BL),), task.objective.t_min, dtype=torch.float64, device=x0_BL.device)
        chosen_B = one_position(batch, counted_BL)
        other_B1 = integers(process.vocab_size - 1, batch.keys_B[:, None], Stream.PROBE, -1)
        own_B1 = x0_BL.gather(1, chosen_B[:, None])
        changed_BL = x0_BL.scatter(1, chosen_B[:, None], other_B1 + (other_B1 >= own_B1))

        shown_BL = process.mask_position(x0_BL, chosen_B)
        entropy_BL = entropies(at.denoiser, shown_BL, t_B, batch.valid_BL)
        before_BV = at.denoiser.predict_at(shown_BL, chosen_B, t_B, batch.valid_BL)
        after_BV = at.denoiser.predict_at(process.mask_position(changed_BL, chosen_B), chosen_B, t_B, batch.valid_BL)
        leak_B = F.total_variation(before_BV, after_BV)
        asked_BL = counted_BL & process.prediction_mask(shown_BL)
        metric.update_clean(entropy_BL, leak_B, asked_BL, counted_BL.any(1), at.ids)

    @override
    def record_keys(self, task: DiffusionTask) -> Iterable[Record]:
        return [{"metric": self.kind, "t": t} for t in self.times]

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        for split, weights in dict.fromkeys(key[:2] for key in self.collected):
            clean = self.collected[split, weights, self.times[0]].compute()
            for t in self.times:
                result = self.collected[split, weights, t].compute()._asdict()
                fields = {name: value for name, value in result.items() if not isinstance(value, Tensor)}
                draws = fields.pop("draws")
                histograms = {
                    f"entropy_{name}/{{split}}/t={{t:g}}": Histogram(result["edges"], result[f"histogram_{name}"])
                    for name in ("recovered", "unrecovered")
                }
                name, steps = self._chains[split]
                about = {"split": split, "weights": weights, "t": t, "sampler": name, "sampler_steps": steps}
                yield {
                    **about,
                    **fields,
                    "entropy_leave_one_out": clean.entropy_leave_one_out,
                    **{name: getattr(clean, name) for name in LEAK},
                    "_draws": draws,
                    "_histograms": histograms,
                }


def entropy_caveat(task: DiffusionTask, t: float) -> str:
    """Return why an entropy at time `t` is not reliable: "extrapolated", "ill-conditioned", or ""."""
    if t < task.objective.t_min:
        return "extrapolated"  # the network was not trained there
    return "ill-conditioned" if task.parameterization.conditions_on_own_token and t < ILL_CONDITIONED else ""
