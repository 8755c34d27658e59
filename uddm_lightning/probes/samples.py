"""The model's own samples: memorized, spurious or novel, and their perplexity under a critic."""

from collections.abc import Iterable, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least, check_within
from uddm_lightning.critics import Critic
from uddm_lightning.metrics import SampleNeighbours
from uddm_lightning.metrics.neighbours import NEAR, NGRAM
from uddm_lightning.probes.base import Probe
from uddm_lightning.probes.measured_batch import MeasuredBatch, select
from uddm_lightning.probes.summary import cell
from uddm_lightning.probes.train_comparison import TrainComparison
from uddm_lightning.results.declarations import Column, Scalar, count, nats, share
from uddm_lightning.results.tables import Record
from uddm_lightning.training.task import DiffusionTask
from uddm_lightning.training.trainer_access import data_of

SCALARS = ("n_memorized", "n_spurious", "n_novel", "generative_perplexity", "novel_perplexity", "unigram_entropy")
COLUMNS = (
    Column("critic", "name", "language model that gives the perplexities"),
    Column("generative_perplexity", "1", "perplexity of the rows under the critic", 0.0, interval=True),
    nats("unigram_entropy", "mean entropy of the token frequencies within a row"),
    count("n_memorized", "rows", "rows near a training row"),
    count("n_spurious", "rows", "rows near another sample, but near no training row"),
    count("n_novel", "rows", "rows near neither a training row nor another sample"),
    share("nearest_distance", "mean share of positions in which a row differs from its nearest training row"),
    share("nearest_overlap", "mean share of the n-grams of a row that its nearest training row has"),
    share("train_overlap", "mean share of the n-grams of a row that any training row has"),
    Column("novel_perplexity", "1", "perplexity of the novel rows under the critic", 0.0),
)


class SampleProbe(Probe):
    """Compares rows that the model draws from pure noise with its training rows and with each other.

    A sample is *memorized* if a training row is near it, else *spurious* if another sample is, else *novel*; see
    `SampleNeighbours`. The number of samples is part of this definition, so compare equal numbers only.

    The same number of test rows is measured in the same way (split "test"), as a level for unseen text.

    Args:
        memorized_within: largest share of positions at which a memorized sample differs from a training row, in [0, 1).
            The default 0.1 is above the share of errors of a chain that reproduces a row, and far below the mean share
            in which two unrelated rows differ (0.94 for 32 characters of English).
        spurious_within: the same between two samples.
        ngram: ids of the n-grams whose overlap with the training rows is measured, at least 1.
        critic: language model for the generative perplexity; null leaves it out.
        num_rows_during_training: see `Probe`; by default samples are compared at the last step only.
        kwargs: arguments of `Probe`.
    """

    kind = "samples"
    title = "The model's own samples"
    reading = (
        "The split test holds held-out rows that are treated like samples: compare the two. The labels depend on the "
        "number of samples, so compare equal numbers only. Novel rows include bad text: see novel_perplexity."
    )
    columns = COLUMNS
    scalars = tuple(Scalar(name, f"{name}/{{split}}", skip_nan="perplexity" in name, front=()) for name in SCALARS)
    splits = ("test", "samples")
    every_test_row = False  # as many test rows as samples

    def __init__(
        self,
        memorized_within: float = NEAR,
        spurious_within: float = NEAR,
        ngram: int = NGRAM,
        critic: Critic | None = None,
        num_rows_during_training: int | None = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows_during_training=num_rows_during_training, **kwargs)
        check_within("[0, 1)", "samples.", memorized_within=memorized_within, spurious_within=spurious_within)
        check_at_least(1, "samples.", ngram=ngram)
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
            self._against = TrainComparison(
                data.corpus, data.subset, data.packing, self.critic, self.ngram, data.num_sample_rows
            )

    @override
    def measure(self, at: MeasuredBatch) -> None:
        assert self._against is not None
        batch, counted_BL = at.batch, at.counted_BL
        if at.split == "test":  # as many as samples, and each row once: a row would be near its copy
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
    def summary_lines(self, records: Sequence[Record]) -> list[str]:
        found = {record["split"]: record for record in records}
        if "samples" not in found:
            return []
        mine = found["samples"]
        labels = ", ".join(f"{mine[f'n_{label}']} {label}" for label in ("memorized", "spurious", "novel"))
        values = ", ".join(f"{split} {cell(record['generative_perplexity'])}" for split, record in found.items())
        novel = f", novel samples {cell(mine['novel_perplexity'])}" if mine["n_novel"] else ""
        judged = f"; perplexity under the {mine['critic']} critic: {values}{novel}" if "critic" in mine else ""
        return [f"   {mine['n_draws']} samples: {labels}{judged}"]

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        for (split, weights), metric in self.collected.items():
            drawn = {"sampler": task.sampler.name, "sampler_steps": task.sampler.steps} if split == "samples" else {}
            judged = {"critic": self.critic.name} if self.critic else {}
            yield {"split": split, "weights": weights, **drawn, **judged, **metric.compute()._asdict()}

    on_test_start = on_validation_start
