"""What the model writes by itself: memorized, spurious or novel, and its perplexity under a critic."""

from collections.abc import Iterable, Sequence
from typing import Literal

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.critics import Critic
from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.metrics.neighbours import NEAR, NGRAM
from uddm_lightning.probes.base import MeasuredBatch, Probe, select
from uddm_lightning.probes.train_comparison import TrainComparison
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of


class SampleProbe(Probe):
    """Compares rows that the model draws from pure noise with its training rows and with each other.

    A sample is *memorized* if a training row is near it, else *spurious* if another sample is, else *novel*; see
    `SampleNeighbours`. The number of samples is part of this definition, so compare equal numbers only.

    As many test rows go through the same mill (split "test"): what unseen text of the same kind would be called, and
    its perplexity under the same critic.

    Args:
        memorized_within: largest share of positions at which a memorized sample differs from a training row, in
            [0, 1). One token in ten is more than the slips of a chain that follows a row, and far less than what two
            unrelated rows differ in (in the mean 0.94 for 32 characters of English).
        spurious_within: the same between two samples; alike by default, so that near means one thing.
        ngram: ids of the n-grams whose overlap with the training rows is measured, at least 1.
        critic: language model for the generative perplexity; null leaves it out.
        weights: see `Probe`.
        num_rows: see `Probe`.
        num_rows_during_training: see `Probe`; by default this is measured at the end only.
        enabled: see `Probe`.
    """

    kind = "samples"
    splits = ("test", "samples")
    every_test_row = False  # but as many as there are samples

    def __init__(
        self,
        memorized_within: float = NEAR,
        spurious_within: float = NEAR,
        ngram: int = NGRAM,
        critic: Critic | None = None,
        weights: Sequence[Literal["ema", "raw"]] = ("ema",),
        num_rows: int | None = None,
        num_rows_during_training: int | None = 0,
        enabled: bool = True,
    ) -> None:
        super().__init__(weights, num_rows, num_rows_during_training, enabled)
        for name, value in (("memorized_within", memorized_within), ("spurious_within", spurious_within)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"`samples.{name}` must be in [0, 1), got {value}.")
        if ngram < 1:
            raise ValueError(f"`samples.ngram` must be at least 1, got {ngram}.")
        self.memorized_within = memorized_within
        self.spurious_within = spurious_within
        self.ngram = ngram
        self.critic = critic
        self._against: TrainComparison | None = None
        self._most = 0

    @override
    def load(self) -> None:
        if self.critic is not None and self.enabled:
            self.critic.load()

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        if not self._denoisers:
            return
        data = data_of(trainer)
        self._most = data.num_sample_rows if self._limit is None else min(self._limit, data.num_sample_rows)
        if not self._most:
            self._denoisers = {}  # without samples there is nothing to compare test rows with
        elif self._against is None:
            self._against = TrainComparison(data.corpus, data.subset, data.packing, self.critic, self.ngram)

    @override
    def measure(self, at: MeasuredBatch) -> None:
        assert self._against is not None
        batch, counted_BL = at.batch, at.counted_BL
        if at.split == "test":  # as many as samples, and each row once: it would be a double of itself
            kept_B = batch.places_B < min(self._most, len(self._against.corpus.test))
            batch, counted_BL = select(batch, kept_B), counted_BL[kept_B]
        metric = self.metric(
            at,
            SampleNeighbours,
            length=self._against.length,
            memorized_within=self.memorized_within,
            spurious_within=self.spurious_within,
        )
        if len(batch.rows_B):
            self._against.update(metric, batch.tokens_BL, counted_BL, batch.rows_B)

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        for (split, weights), metric in self._metrics.items():
            drawn = {"sampler": task.sampler.name, "sampler_steps": task.sampler.steps} if split == "samples" else {}
            judged = {"critic": self.critic.name} if self.critic else {}
            yield {"split": split, "weights": weights, **drawn, **judged, **metric.compute()._asdict()}

    on_test_start = on_validation_start
