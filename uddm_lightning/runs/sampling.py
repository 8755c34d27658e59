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

from uddm_lightning import __version__
from uddm_lightning.config.keys import flat
from uddm_lightning.core.parent_process import exit_with_parent, parent_check
from uddm_lightning.core.progress import Progress
from uddm_lightning.probes.entropies import sample_entropies
from uddm_lightning.runs.manifest import read_run_name
from uddm_lightning.runs.run import Run, load_run
from uddm_lightning.runs.shards import ROWS, SHARD, Shards
from uddm_lightning.training.task import Weights

PAUSE = 0.3  # seconds between two looks at the work of other processes


class SamplingJob(NamedTuple):
    """Samples to draw, as plain values that can be sent to another process.

    Attributes:
        path: the run's folder or config.yaml.
        checkpoint: path of a checkpoint, or its name in the run.
        steps: of the chain; None keeps the config's.
        device: None takes a GPU where there is one.
        weights: averaged or raw.
        seed: of the samples.
        batch_size: samples that pass through the network together.
        file: parquet file to write.
        total: number of samples.
    """

    path: Path
    checkpoint: str
    steps: int | None
    device: str | None
    weights: Weights
    seed: int
    batch_size: int
    file: Path
    total: int

    def load(self) -> Run:
        """Load the model."""
        return load_run(self.path, self.checkpoint, self.weights, self.device, self.steps)

    def shards(self, run: Run) -> Shards:
        """Return the shards of the file."""
        return Shards(self.file, sample_settings(run, self.seed), self.total)


def sample_settings(run: Run, seed: int) -> dict[str, Any]:
    """Return everything that decides the samples, by name."""
    model, task = run.model, run.model.task
    return {
        "checkpoint": model.digest,
        "step": model.step,
        "weights": run.weights,
        "seed": seed,
        "sampler": task.sampler.name,
        "sampler_steps": task.sampler.steps,
        "vocab_size": task.process.vocab_size,
        "length": model.length,
        "entropy_t": task.objective.t_min,
        **dict(flat(model.decisive, "model.")),
    }


def sample_to_file(job: SamplingJob, run: Run, processes: int) -> bool:
    """Draw the samples that the file lacks; return False if a process has failed.

    Args:
        job: the samples.
        run: as `job.load` returns it.
        processes: that draw on this machine.

    Raises:
        InputError: the file holds samples of other settings, or is no file of samples.
    """
    shards, corpus, words = job.shards(run), run.model.corpus(), run.model.tokenizer(fetch=False)
    while not shards.complete():
        shards.begin()
        if processes > 1:
            if not fill_in_processes(job, processes, shards):
                return False
        else:
            with Progress("drawing", job.total, "samples") as bar:
                fill_shards(job, run, bar.update)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "uddm_lightning": __version__}
        tokenizer = corpus.meta["tokenizer_hash"] if corpus else None
        more = {"run": read_run_name(run.folder), "versions": versions, "tokenizer": tokenizer}
        try:
            shards.finish(more, words.decode if words else None)
        except KeyError:  # a shard has been damaged since it was drawn
            continue
    return True


def fill_shards(job: SamplingJob, run: Run, drawn: Callable[[int], object]) -> None:
    """Draw shards until all are there; wait for those that another process is drawing.

    Args:
        job: the samples.
        run: the model.
        drawn: called with a number of samples each time that so many more are ready.
    """
    torch.set_num_threads(run.model.threads)
    shards = job.shards(run)
    missing = list(range(len(shards)))
    while missing and not shards.complete():
        left = []
        for number in missing:
            if shards.done(number):
                continue
            try:
                with shards.lock(number).acquire(timeout=0):
                    if not (shards.complete() or shards.done(number)):
                        _fill(job, run, shards, number, drawn)
            except filelock.Timeout:
                left.append(number)
        if left:
            time.sleep(PAUSE)
        missing = left


def _fill(job: SamplingJob, run: Run, shards: Shards, number: int, drawn: Callable[[int], object]) -> None:
    """Draw what a shard lacks. Entropies are computed for the whole shard at once, whatever the batch size."""
    task, wanted = run.model.task, shards.range(number)
    old = shards.rows(number)["tokens"].to_pylist()
    parts = [torch.tensor(old, dtype=torch.int64).view(-1, run.model.length)]
    for start in range(wanted.start + len(old), wanted.stop, job.batch_size):
        ids_B = torch.arange(start, min(start + job.batch_size, wanted.stop))
        parts.append(run.sample_ids(ids_B, job.seed).cpu())
        drawn(len(ids_B))
    tokens_BL = torch.cat(parts).to(task.device)
    found = sample_entropies(run.denoiser, tokens_BL, task.objective.t_min)
    columns = {
        "sample": list(wanted),
        "tokens": tokens_BL.tolist(),
        "entropy": found.entropy_BL.float().tolist(),
        "unigram_entropy": found.unigram_entropy_B.tolist(),
    }
    shards.write(number, pa.Table.from_pydict(columns, SHARD))


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
