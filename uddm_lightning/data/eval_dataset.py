"""Rows to measure on: a fixed list, whoever measures and in whatever batches.

Shapes: M draws, B of them in a batch; L positions of a row.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream


class RowReader(Protocol):
    """Rows in any place: (B, L) tensors for row numbers (B,); `special` and `valid` may be None, as in `TokenBatch`."""

    def tokens(self, ids: Tensor) -> Tensor:
        """Ids, int64 (B, L)."""

    def special(self, ids: Tensor) -> Tensor | None:
        """True where the packing put a begin, end or separator."""

    def valid(self, ids: Tensor) -> Tensor | None:
        """False at padding."""

    def documents(self, ids: Tensor) -> Tensor | None:
        """Numbers of the documents that rows are from, int64 (B,); None where no document gives several rows."""


def draw_keys(seed: int, code: int, rows_B: Tensor, turns_B: Tensor) -> Tensor:
    """Noise keys (B,) of rows of the split with number `code`, each in its turn to be measured."""
    return keyed_random.key(seed, Stream.MEASURING, code, rows_B, turns_B)


class EvalDataset(Dataset[TokenBatch]):
    """Whole batches of draws; draw j is row `row_ids[j % n]` with noise of its own number j // n.

    Every rank gets the same number of batches of the same shape; what is missing at the end is filled with rows that
    are marked by the number -1.

    Args:
        rows: where the rows lie.
        row_ids: int64 (n,), which of them to measure.
        draws: M.
        batch_size: draws of a batch on one rank; smaller where there are fewer draws.
        seed: of the noise.
        code: number of the split; splits never share noise.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        rows: RowReader,
        row_ids: Tensor,
        draws: int,
        batch_size: int,
        seed: int,
        code: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.rows = rows
        self.row_ids = row_ids
        self.draws = draws
        self.seed = seed
        self.code = code
        self.rank = rank
        self.world_size = world_size
        self._per_rank = -(-draws // world_size)
        self.batch_size = min(batch_size, self._per_rank)

    def __len__(self) -> int:
        return -(-self._per_rank // self.batch_size)

    @override
    def __getitem__(self, index: int) -> TokenBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)}.")
        turns = torch.arange(index * self.batch_size, (index + 1) * self.batch_size)
        draws_B = self.rank + self.world_size * turns
        counted = draws_B < self.draws
        draws_B = draws_B.clamp(max=self.draws - 1)
        rows_B = self.row_ids[draws_B % len(self.row_ids)]
        keys_B = draw_keys(self.seed, self.code, rows_B, draws_B // len(self.row_ids))
        return TokenBatch(
            tokens_BL=self.rows.tokens(rows_B),
            rows_B=torch.where(counted, rows_B, -1),
            places_B=draws_B,
            keys_B=keys_B,
            quantiles_B=(draws_B + keyed_random.uniform(keys_B, Stream.TIMES)) / self.draws,
            valid_BL=self.rows.valid(rows_B),
            special_BL=self.rows.special(rows_B),
            seed=int(keyed_random.key(self.seed, Stream.MEASURING, self.code, index, self.rank)),
            step=0,
            documents_B=self.rows.documents(rows_B),
        )
