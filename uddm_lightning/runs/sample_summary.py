"""Summarize a file of samples, and compare the samples with the training rows of their run."""

from typing import Any, NamedTuple

import pyarrow as pa
import torch

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.progress import progress
from uddm_lightning.core.token_texts import without_special
from uddm_lightning.data.subset import Subset
from uddm_lightning.probes.train_comparison import TrainComparison, comparison_lines
from uddm_lightning.runs.load import LoadedModel
from uddm_lightning.runs.manifest import read_manifest
from uddm_lightning.runs.sampling import SamplingJob
from uddm_lightning.runs.shards import ROWS, batches, read_settings

SHOWN = 3  # samples in the terminal
WIDTH = 100  # characters of a sample in the terminal


class SampleSummary(NamedTuple):
    """Means over the first samples of a file.

    Attributes:
        settings: of the samples, see `sample_settings`.
        entropy: in nats per token.
        unigram_entropy: entropy of the frequencies of ids in a sample, in nats.
        shown: the first three samples as text; without the text of the run, as ids.
        neighbours: numbers of memorized, spurious and novel samples, distances, overlaps and perplexities; None where
            the samples were not compared.
    """

    settings: dict[str, Any]
    entropy: float
    unigram_entropy: float
    shown: list[str]
    neighbours: dict[str, Any] | None


def train_comparison(model: LoadedModel) -> TrainComparison:
    """Return the comparison with the training rows of a run.

    Raises:
        InputError: its prepared text is not in the cache.
    """
    corpus, manifest = model.corpus(), read_manifest(model.folder)
    if corpus is None:
        raise InputError(
            f"`--against`: the prepared text of `{model.folder}` is not in the cache. Prepare it with `uddm validate "
            f"-c {model.folder / 'config.yaml'} --ckpt_path last`, or leave `--against` out."
        )
    subset = Subset(len(corpus.train), int(manifest["train_size"]), int(manifest["seed"]), corpus.hash)
    return TrainComparison.with_ngram_critic(corpus, subset, model.packing)


def summarize(job: SamplingJob, against: TrainComparison | None) -> SampleSummary:
    """Return the summary of the first samples of the file, as many as the job asks for.

    Args:
        job: names the file.
        against: compare the samples with these training rows.
    """
    tokens, entropy, unigram = 0, 0.0, 0.0
    shown: list[str] = []
    metric = against.new_metric() if against else None
    for table in _first_tables(job):
        entropies = torch.tensor(table["entropy"].to_pylist(), dtype=torch.float64)
        first = table.slice(0, SHOWN - len(shown)).to_pylist()
        shown += [" ".join(map(str, row["tokens"])) if row["text"] is None else row["text"] for row in first]
        tokens, entropy = tokens + entropies.numel(), entropy + float(entropies.sum())
        unigram += sum(table["unigram_entropy"].to_pylist())
        if against and metric:
            tokens_BL = torch.tensor(table["tokens"].to_pylist())
            counted_BL = against.kept_L.expand(len(tokens_BL), -1)
            against.update(metric, tokens_BL, counted_BL, torch.tensor(table["sample"].to_pylist()))
    neighbours = metric.compute()._asdict() if metric else None
    return SampleSummary(read_settings(job.file), entropy / tokens, unigram / job.total, shown, neighbours)


def summary_lines(job: SamplingJob, summary: SampleSummary, against: TrainComparison | None) -> list[str]:
    """Return the lines that `uddm sample` prints."""
    settings = summary.settings
    chain = f"{settings['sampler']} chain on {settings['sampler_steps']} steps"
    means = f"{summary.entropy:.3f} nats per token; unigram entropy: {summary.unigram_entropy:.3f} nats"
    lines = [
        f"{job.total} samples in {job.file}: {chain}, {settings['weights']} weights of step {settings['step']}, "
        f"seed {settings['seed']}",
        f"   entropy at t = {settings['entropy_t']:g}: {means}",
        *(f"   {number}: {shorten(without_special(text))}" for number, text in enumerate(summary.shown)),
    ]
    return [*lines, *comparison_lines(summary.neighbours, against)] if against and summary.neighbours else lines


def shorten(text: str) -> str:
    """Return a sample in one line of the terminal; signs that are not printed become dots.

    Example:
        >>> shorten("one" + chr(10) + "two")
        'one·two'
    """
    line = "".join(sign if sign.isprintable() else "\N{MIDDLE DOT}" for sign in text)
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _first_tables(job: SamplingJob) -> list[pa.Table]:
    tables, left = [], job.total
    for table in progress(batches(job.file), "reading", "batches"):
        tables.append(table.slice(0, left))
        left -= min(left, ROWS)
    return [table for table in tables if len(table)]
