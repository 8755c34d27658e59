"""Draws the shards that nobody has drawn yet, alone or together with other processes."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from uddm_lightning.metrics import functional as F
from uddm_lightning.metrics.neighbours import unigram_entropy
from uddm_lightning.runs.load import LoadedModel, draw, load
from uddm_lightning.samplers.denoiser import Denoiser
from uddm_lightning.sampling.shards import ROWS, SHARD, Shards
from uddm_lightning.training.task import Weights

PAUSE = 0.3  # seconds between two looks at what others do


class SamplingJob(NamedTuple):
    """What to draw; plain values, so that another process can be told.

    Attributes:
        config: the run's config.yaml.
        checkpoint: path of a checkpoint, or its name in the run.
        steps: of the chain; None keeps the config's.
        device: None takes a GPU where there is one.
        weights: averaged or raw.
        seed: of the samples.
        batch_size: samples that pass through the network together.
        file: where the samples go.
        total: how many.
    """

    config: Path
    checkpoint: str
    steps: int | None
    device: str | None
    weights: Weights
    seed: int
    batch_size: int
    file: Path
    total: int

    def load(self) -> LoadedModel:
        """The model."""
        return load(self.config, self.checkpoint, self.steps, self.device)

    def shards(self, trained: LoadedModel) -> Shards:
        """The place of the samples."""
        return Shards(self.file, setting(trained, self.weights, self.seed), self.total)


def setting(trained: LoadedModel, weights: Weights, seed: int) -> dict[str, Any]:
    """What decides the samples."""
    task = trained.task
    return {
        "checkpoint": trained.digest,
        "step": trained.step,
        "weights": weights,
        "seed": seed,
        "sampler": task.sampler.name,
        "sampler_steps": task.sampler.steps,
        "vocab_size": task.process.vocab_size,
        "length": trained.length,
        "entropy_t": task.objective.t_min,
        **dict(_flat(trained.model, "model")),
    }


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The parts of nested settings under their full names, which a message can name."""
    if isinstance(value, dict) and value:
        for inner, part in value.items():
            yield from _flat(part, f"{name}.{inner}")
    else:
        yield name, value


def work(order: SamplingJob, trained: LoadedModel, drawn: Callable[[int], object]) -> None:
    """Draws shards until all are there; those that another process is at are waited for.

    Args:
        order: what to draw.
        trained: the model.
        drawn: is told the number of samples each time that some are ready.
    """
    torch.set_num_threads(trained.threads)
    shards, denoiser = order.shards(trained), trained.task.denoiser(order.weights)
    missing = list(range(len(shards)))
    while missing and not shards.complete():
        left = []
        for number in missing:
            if shards.done(number):
                continue
            try:
                with shards.lock(number).acquire(timeout=0):
                    if not (shards.complete() or shards.done(number)):
                        _fill(order, trained, denoiser, shards, number, drawn)
            except filelock.Timeout:
                left.append(number)
        if left:
            time.sleep(PAUSE)
        missing = left


def _fill(
    order: SamplingJob,
    trained: LoadedModel,
    denoiser: Denoiser,
    shards: Shards,
    number: int,
    drawn: Callable[[int], object],
) -> None:
    """Draws what a shard lacks. Entropies are those of the whole shard at once, whatever the size of a batch."""
    task, wanted = trained.task, shards.range(number)
    old = shards.rows(number)["tokens"].to_pylist()
    parts = [torch.tensor(old, dtype=torch.int64).view(-1, trained.length)]
    for start in range(wanted.start + len(old), wanted.stop, order.batch_size):
        ids_B = torch.arange(start, min(start + order.batch_size, wanted.stop))
        parts.append(draw(trained, denoiser, order.seed, ids_B).cpu())
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
    """Entropy of each token of clean rows at time t, in nats, (B, L)."""
    t_B = torch.full((len(tokens_BL),), t, dtype=torch.float64, device=tokens_BL.device)
    if bool(denoiser.process.prediction_mask(tokens_BL).all()):
        return denoiser(_entropy, tokens_BL, t_B, None)[0]
    columns = []  # a token must be hidden to be asked about: one position after the other
    for position in range(tokens_BL.shape[1]):
        position_B = torch.full_like(tokens_BL[:, 0], position)
        hidden_BL = denoiser.process.mask_position(tokens_BL, position_B)
        columns.append(F.entropy(denoiser.predict_at(hidden_BL, position_B, t_B, None)))
    return torch.stack(columns, 1)


def _entropy(logits_CV: Tensor, xt_C: Tensor) -> tuple[Tensor]:
    return (F.entropy(logits_CV),)


def together(order: SamplingJob, processes: int, shards: Shards) -> bool:
    """Has several processes of this machine draw; returns whether all of them ended well."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once for all of them
    bars = os.environ.get("TQDM_DISABLE", "")
    os.environ["TQDM_DISABLE"] = "1"  # read while it is imported there: the bar here stands for all
    workers = [context.Process(target=_work, args=(order,), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    os.environ["TQDM_DISABLE"] = bars
    with tqdm(total=len(shards) * ROWS, desc="samples", delay=2.0, leave=False, dynamic_ncols=True) as bar:
        while any(worker.is_alive() for worker in workers):
            there = sum(1 for _ in shards.folder.glob("*.parquet"))
            bar.update(there * ROWS - bar.n)
            for worker in workers:
                worker.join(PAUSE / processes)
    return all(worker.exitcode == 0 for worker in workers)


def _work(order: SamplingJob) -> None:
    """In a process of its own, which ends with the one that started it."""
    threading.Thread(target=_watch, daemon=True).start()
    work(order, order.load(), lambda count: None)


def _watch() -> None:
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(PAUSE)
    os._exit(1)  # as if killed: shards are written whole or not at all
