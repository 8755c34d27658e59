"""Draw samples of a model into a file, shard by shard, alone or together with other processes."""

import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import pyarrow as pa
import torch
from torch import Tensor

from uddm_lightning import __version__
from uddm_lightning.config.keys import flat
from uddm_lightning.core.parent_process import exit_with_parent, parent_check
from uddm_lightning.core.progress import Progress
from uddm_lightning.metrics import functional as F
from uddm_lightning.metrics.neighbours import unigram_entropy
from uddm_lightning.runs.load import LoadedModel, load, sample_rows
from uddm_lightning.runs.manifest import read_run_name
from uddm_lightning.runs.shards import ROWS, SHARD, Shards
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.training.task import Weights

PAUSE = 0.3  # seconds between two looks at the work of other processes


class SamplingJob(NamedTuple):
    """Samples to draw, as plain values that can be sent to another process.

    Attributes:
        run: the run's folder or config.yaml.
        checkpoint: path of a checkpoint, or its name in the run.
        steps: of the chain; None keeps the config's.
        device: None takes a GPU where there is one.
        weights: averaged or raw.
        seed: of the samples.
        batch_size: samples that pass through the network together.
        file: parquet file to write.
        total: number of samples.
    """

    run: Path
    checkpoint: str
    steps: int | None
    device: str | None
    weights: Weights
    seed: int
    batch_size: int
    file: Path
    total: int

    def load(self) -> LoadedModel:
        """Load the model."""
        return load(self.run, self.checkpoint, self.steps, self.device)

    def shards(self, model: LoadedModel) -> Shards:
        """Return the shards of the file."""
        return Shards(self.file, sample_settings(model, self.weights, self.seed), self.total)


def sample_settings(model: LoadedModel, weights: Weights, seed: int) -> dict[str, Any]:
    """Return everything that decides the samples, by name."""
    task = model.task
    return {
        "checkpoint": model.digest,
        "step": model.step,
        "weights": weights,
        "seed": seed,
        "sampler": task.sampler.name,
        "sampler_steps": task.sampler.steps,
        "vocab_size": task.process.vocab_size,
        "length": model.length,
        "entropy_t": task.objective.t_min,
        **dict(flat(model.decisive, "model.")),
    }


def sample_to_file(job: SamplingJob, model: LoadedModel, processes: int) -> bool:
    """Draw the samples that the file lacks; return False if a process has failed.

    Args:
        job: the samples.
        model: as `job.load` returns it.
        processes: that draw on this machine.

    Raises:
        InputError: the file holds samples of other settings, or is no file of samples.
    """
    shards, corpus = job.shards(model), model.corpus()
    while not shards.complete():
        shards.begin()
        if processes > 1:
            if not fill_in_processes(job, processes, shards):
                return False
        else:
            with Progress("drawing", job.total, "samples") as bar:
                fill_shards(job, model, bar.update)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "uddm_lightning": __version__}
        tokenizer = corpus.meta["tokenizer_hash"] if corpus else None
        more = {"run": read_run_name(model.folder), "versions": versions, "tokenizer": tokenizer}
        try:
            shards.finish(more, corpus.tokenizer.decode if corpus else None)
        except KeyError:  # a shard has been damaged since it was drawn
            continue
    return True


def fill_shards(job: SamplingJob, model: LoadedModel, drawn: Callable[[int], object]) -> None:
    """Draw shards until all are there; wait for those that another process is drawing.

    Args:
        job: the samples.
        model: the model.
        drawn: called with a number of samples each time that so many more are ready.
    """
    torch.set_num_threads(model.threads)
    shards, denoiser = job.shards(model), model.task.denoiser(job.weights)
    missing = list(range(len(shards)))
    while missing and not shards.complete():
        left = []
        for number in missing:
            if shards.done(number):
                continue
            try:
                with shards.lock(number).acquire(timeout=0):
                    if not (shards.complete() or shards.done(number)):
                        _fill(job, model, denoiser, shards, number, drawn)
            except filelock.Timeout:
                left.append(number)
        if left:
            time.sleep(PAUSE)
        missing = left


def _fill(
    job: SamplingJob,
    model: LoadedModel,
    denoiser: Denoiser,
    shards: Shards,
    number: int,
    drawn: Callable[[int], object],
) -> None:
    """Draw what a shard lacks. Entropies are computed for the whole shard at once, whatever the batch size."""
    task, wanted = model.task, shards.range(number)
    old = shards.rows(number)["tokens"].to_pylist()
    parts = [torch.tensor(old, dtype=torch.int64).view(-1, model.length)]
    for start in range(wanted.start + len(old), wanted.stop, job.batch_size):
        ids_B = torch.arange(start, min(start + job.batch_size, wanted.stop))
        parts.append(sample_rows(model, denoiser, job.seed, ids_B).cpu())
        drawn(len(ids_B))
    tokens_BL = torch.cat(parts).to(task.device)
    columns = {
        "sample": list(wanted),
        "tokens": tokens_BL.tolist(),
        "entropy": _entropies(denoiser, tokens_BL, task.objective.t_min).float().tolist(),
        "unigram_entropy": unigram_entropy(tokens_BL, torch.ones_like(tokens_BL, dtype=torch.bool)).tolist(),
    }
    shards.write(number, pa.Table.from_pydict(columns, SHARD))


def _entropies(denoiser: Denoiser, tokens_BL: Tensor, t: float) -> Tensor:
    """Return the entropy of each token of clean rows at time t, in nats, (B, L)."""
    t_B = torch.full((len(tokens_BL),), t, dtype=torch.float64, device=tokens_BL.device)
    if bool(denoiser.process.prediction_mask(tokens_BL).all()):
        return denoiser(lambda logits_CV, _: (F.entropy(logits_CV),), tokens_BL, t_B, None)[0]
    columns = []  # the process predicts masked tokens only: one position after the other is masked
    for position in range(tokens_BL.shape[1]):
        position_B = torch.full_like(tokens_BL[:, 0], position)
        masked_BL = denoiser.process.mask_position(tokens_BL, position_B)
        columns.append(F.entropy(denoiser.predict_at(masked_BL, position_B, t_B, None)))
    return torch.stack(columns, 1)


def fill_in_processes(job: SamplingJob, processes: int, shards: Shards) -> bool:
    """Draw shards in several processes of this machine; return whether all of them succeeded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once for all of them
    bars = os.environ.get("TQDM_DISABLE", "")
    os.environ["TQDM_DISABLE"] = "1"  # read at import in the workers: one bar here shows their progress
    workers = [context.Process(target=_work, args=(job,), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    os.environ["TQDM_DISABLE"] = bars
    with Progress("drawing", len(shards) * ROWS, "samples") as bar:
        while any(worker.is_alive() for worker in workers):
            there = sum(1 for _ in shards.folder.glob("*.parquet"))
            bar.update(there * ROWS - bar.done)
            for worker in workers:
                worker.join(PAUSE / processes)
    return all(worker.exitcode == 0 for worker in workers)


def _work(job: SamplingJob) -> None:
    exit_with_parent(parent_check(), PAUSE)
    fill_shards(job, job.load(), lambda count: None)
