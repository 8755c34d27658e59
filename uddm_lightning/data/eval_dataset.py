"""Rows for measurements: the same draws for every batch size and number of processes.

Shapes: M draws, B of them in a batch; L positions of a row.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data.corpus import Corpus
from uddm_lightning.data.subset import key_from_hash


class RowReader(Protocol):
    """Random access to rows by number: tensors (B, L) for row numbers `ids` (B,), with None as in `TokenBatch`."""

    def tokens(self, ids: Tensor) -> Tensor:
        """Return the ids, int64 (B, L)."""

    def special(self, ids: Tensor) -> Tensor | None:
        """Return True (B, L) at begin, end and separator tokens; None if there are none."""

    def valid(self, ids: Tensor) -> Tensor | None:
        """Return False (B, L) at padding; None if there is none."""

    def documents(self, ids: Tensor) -> Tensor | None:
        """Return the document numbers, int64 (B,); None if no two rows share a document."""


def draw_keys(seed: int, code: int, rows_B: Tensor, repeats_B: Tensor) -> Tensor:
    """Return the noise keys (B,) of draws of rows.

    Args:
        seed: seed of the noise.
        code: code of the split.
        rows_B: int64 row numbers.
        repeats_B: int64 number of earlier draws of the same row.
    """
    return keyed_random.key(seed, Stream.MEASURING, code, rows_B, repeats_B)


def measured_order(corpus: Corpus, places: Tensor) -> Tensor:
    """Return the test rows at places of the order in which they are measured, int64; it is the same for all runs."""
    return keyed_random.permutation(places, len(corpus.test), Stream.MEASURING, key_from_hash(corpus.hash))


@dataclass(eq=False)
class EvalDataset(Dataset[TokenBatch]):
    """Dataset of whole batches of draws: draw j is row `row_ids[j % n]` with its noise key number j // n.

    Every rank has the same number of batches of the same shape; filler rows at the end have the row number -1.

    Args:
        rows: access to the rows.
        row_ids: int64 (n,) numbers of the rows to measure.
        draws: number of draws M.
        batch_size: draws per batch of one rank; smaller if a rank has fewer draws.
        seed: seed of the noise.
        code: code of the split; splits do not share noise.
        rank: rank of this process.
        world_size: number of processes.
    """

    rows: RowReader
    row_ids: Tensor
    draws: int
    batch_size: int
    seed: int
    code: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        self._per_rank = -(-self.draws // self.world_size)
        self.batch_size = min(self.batch_size, self._per_rank)

    def __len__(self) -> int:
        return -(-self._per_rank // self.batch_size)

    @override
    def __getitem__(self, index: int) -> TokenBatch:
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} is out of range: there are {len(self)} batches.")
        local_B = torch.arange(index * self.batch_size, (index + 1) * self.batch_size)
        draws_B = self.rank + self.world_size * local_B
        counted_B = draws_B < self.draws
        draws_B = draws_B.clamp(max=self.draws - 1)
        rows_B = self.row_ids[draws_B % len(self.row_ids)]
        keys_B = draw_keys(self.seed, self.code, rows_B, draws_B // len(self.row_ids))
        return TokenBatch(
            tokens_BL=self.rows.tokens(rows_B),
            rows_B=torch.where(counted_B, rows_B, -1),
            places_B=draws_B,
            keys_B=keys_B,
            quantiles_B=(draws_B + keyed_random.uniform(keys_B, Stream.TIMES)) / self.draws,
            valid_BL=self.rows.valid(rows_B),
            special_BL=self.rows.special(rows_B),
            seed=int(keyed_random.key(self.seed, Stream.MEASURING, self.code, index, self.rank)),
            step=0,
            documents_B=self.rows.documents(rows_B),
        )
