"""Endless training rows without epochs, addressed by optimizer step.

Shapes: S micro-batches, B rows of the global batch or of a micro-batch, L positions of a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data.eval_dataset import RowReader
from uddm_lightning.data.subset import Subset

# Rows per call of the keyed permutation, which takes thousands of small operations for any number of rows: one call per
# micro-batch would take longer than a small network.
ROWS_PER_PLAN = 2**14


@dataclass(eq=False)
class TrainDataset(IterableDataset[TokenBatch]):
    """Dataset of micro-batches whose contents depend only on seed, step and position in the global batch.

    Position i of step k reads element k B + i of an endless sequence. The sequence is a concatenation of permutations
    of the subset, so that each row occurs once in n consecutive elements, even if n is smaller than B. World size,
    accumulation, workers and restarts do not change the contents of a step.

    Args:
        rows: the training pool.
        subset: the n rows to train on.
        batch_size: B, rows per step over all ranks and micro-batches; a multiple of world size x accumulation.
        seed: seed of order and noise.
        start: first step.
        accumulation: micro-batches per step.
        rank: rank of this process.
        world_size: number of processes.
    """

    rows: RowReader
    subset: Subset
    batch_size: int
    seed: int
    start: int = 0
    accumulation: int = 1
    rank: int = 0
    world_size: int = 1

    @override
    def __iter__(self) -> Iterator[TokenBatch]:
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        planned = max(1, ROWS_PER_PLAN * self.accumulation * self.world_size // self.batch_size)
        numbers_S = self.start * self.accumulation + first + stride * torch.arange(planned)
        while True:
            yield from self._micro_batches(numbers_S)
            numbers_S = numbers_S + stride * planned

    def row_ids(self, step: int) -> Tensor:
        """Return the pool rows of the global batch of a step, int64 (B,), by position."""
        return self._rows_at(torch.tensor(step), torch.arange(self.batch_size))

    def _rows_at(self, steps: Tensor, positions: Tensor) -> Tensor:
        n = len(self.subset)
        elements = steps * self.batch_size + positions
        epochs, indices = elements // n, elements % n
        return self.subset.rows(keyed_random.permutation(indices, n, Stream.ROWS, self.seed, epochs))

    def _micro_batches(self, numbers_S: Tensor) -> Iterator[TokenBatch]:
        steps_S, parts_S = numbers_S // self.accumulation, numbers_S % self.accumulation
        # strided, so that the times of each micro-batch cover their whole range
        stride = self.accumulation * self.world_size
        positions_SB = (parts_S * self.world_size + self.rank)[:, None] + torch.arange(0, self.batch_size, stride)
        steps_S1 = steps_S[:, None]
        rows_SB = self._rows_at(steps_S1, positions_SB)
        keys_SB = keyed_random.key(self.seed, Stream.TRAINING, steps_S1, positions_SB)
        offsets_SB = keyed_random.uniform(self.seed, Stream.TIMES, steps_S1, positions_SB)
        quantiles_SB = (positions_SB + offsets_SB) / self.batch_size
        seeds_S = keyed_random.key(self.seed, Stream.DROPOUT, steps_S, parts_S, self.rank)
        for s, rows_B in enumerate(rows_SB):
            yield TokenBatch(
                tokens_BL=self.rows.tokens(rows_B),
                rows_B=rows_B.clone(),  # a view would send the whole storage between processes
                places_B=positions_SB[s].clone(),
                keys_B=keys_SB[s].clone(),
                quantiles_B=quantiles_SB[s].clone(),
                valid_BL=self.rows.valid(rows_B),
                special_BL=self.rows.special(rows_B),
                seed=int(seeds_S[s]),
                step=int(steps_S[s]),
            )
