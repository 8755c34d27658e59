"""What all metrics share: sums that are kept row by row, so that intervals can be clustered by row.

A row may be measured many times with other noise, and its draws may arrive in any order, in batches of any size and on
any rank. Each draw leaves one entry; entries are brought into one fixed order before they are added, so a result
depends on the set of draws alone, bit for bit.

Shapes: B rows of a batch, L positions, R distinct rows.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

FLOAT = NDArray[np.float64]


class PerRow(NamedTuple):
    """Entries added up by row, rows in ascending order.

    Attributes:
        rows: int64 row ids (R,).
        draws: how often each row was measured (R,).
        sums: float64 sums (R,) by column name; sums of integers are exact.
    """

    rows: NDArray[np.int64]
    draws: NDArray[np.int64]
    sums: dict[str, FLOAT]


def fold(values_BL: Tensor) -> Tensor:
    """Sums over positions in a fixed tree order, float64 (B,).

    A library's sum may add in an order that depends on the shape of the batch; this one adds element by element, so a
    row's sum has the same bits in every batch and on every device.
    """
    values_BL = values_BL.double()
    while (length := values_BL.shape[1]) > 1:
        half = (length + 1) // 2
        left_BL, right_BL = values_BL[:, :half], values_BL[:, half:]
        if length % 2:
            right_BL = torch.nn.functional.pad(right_BL, (0, 1))
        values_BL = left_BL + right_BL
    return values_BL.sum(1)


def masked_sum(values_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Sum of the values under the mask (see `fold`); what lies outside may be anything, NaN included."""
    return fold(torch.where(mask_BL, values_BL.double(), 0.0))


def check(rows_B: Tensor, mask_BL: Tensor, **tensors_BL: Tensor) -> None:
    """Checks that arguments of `update` belong together.

    Args:
        rows_B: int64 row ids.
        mask_BL: bool mask of what is counted.
        tensors_BL: other arguments by name; each must have the shape of `mask_BL`.

    Raises:
        ValueError: if a shape or dtype is wrong; the message names the argument.
    """
    if rows_B.ndim != 1 or rows_B.dtype != torch.int64:
        raise ValueError(f"`rows_B` must be int64 of shape (B,), got {rows_B.dtype} of shape {tuple(rows_B.shape)}.")
    if mask_BL.dtype != torch.bool:
        raise ValueError(f"The mask of counted positions must be bool, got {mask_BL.dtype}.")
    if mask_BL.ndim != 2 or len(mask_BL) != len(rows_B):
        raise ValueError(
            f"The mask of counted positions must have shape (B, L) with B = {len(rows_B)} rows, "
            f"got {tuple(mask_BL.shape)}."
        )
    for name, tensor in tensors_BL.items():
        if tensor.shape != mask_BL.shape:
            raise ValueError(f"`{name}` must have shape {tuple(mask_BL.shape)}, got {tuple(tensor.shape)}.")


class RowwiseMetric(Metric):
    """A metric whose state is one entry per draw of a row; subclasses declare the columns and record entries.

    An empty metric computes NaN instead of a number, here and on ranks that saw filler rows only; torchmetrics' warning
    about `compute` before `update` is therefore not wanted.
    """

    full_state_update: ClassVar[bool] = False  # type: ignore[misc]  # torchmetrics types it as an instance attribute
    is_differentiable: ClassVar[bool] = False  # type: ignore[misc]  # as above

    def __init__(self) -> None:
        # `compute` is cheap, and a cache would go stale in metrics with a second way to update
        super().__init__(compute_with_cache=False)
        self._ledgers: dict[str, tuple[str, ...]] = {}

    @property
    @override
    def update_called(self) -> bool:
        return True

    def declare(self, ledger: str, *columns: str) -> None:
        """Adds a ledger of entries with the given columns: one state with ids and one with numbers."""
        self._ledgers[ledger] = columns
        self.add_state(f"{ledger}_rows", [], dist_reduce_fx="cat")
        self.add_state(f"{ledger}_entries", [], dist_reduce_fx="cat")

    def record(self, ledger: str, rows_B: Tensor, *columns_B: Tensor) -> None:
        """Writes one entry per row that is not a filler.

        Args:
            ledger: where to.
            rows_B: int64 ids; negative ones mark filler rows.
            columns_B: one value per row for each declared column; integers are exact below 2^53.
        """
        real_B = rows_B >= 0
        entries = torch.stack([column_B.detach().double() for column_B in columns_B], 1)
        getattr(self, f"{ledger}_rows").append(rows_B[real_B].to(self.device))
        getattr(self, f"{ledger}_entries").append(entries[real_B].to(self.device))

    def per_row(self, ledger: str) -> PerRow:
        """Adds the entries up by row, in an order that depends on nothing but the entries themselves."""
        rows, entries = self.entries(ledger)
        distinct, starts, draws = np.unique(rows, return_index=True, return_counts=True)
        sums = np.add.reduceat(entries, starts, axis=0) if len(starts) else entries
        return PerRow(distinct, draws, dict(zip(self._ledgers[ledger], sums.T, strict=True)))

    def entries(self, ledger: str) -> tuple[NDArray[np.int64], FLOAT]:
        """Row ids (M,) and columns (M, C) of all M entries, ordered by row, then by the last column, and so on."""
        self._fill(ledger)
        rows = dim_zero_cat(getattr(self, f"{ledger}_rows")).cpu().numpy()
        entries = dim_zero_cat(getattr(self, f"{ledger}_entries")).cpu().numpy()
        order = np.lexsort((*entries.T, rows))
        return rows[order], entries[order]

    def _fill(self, ledger: str) -> None:
        """Gives an untouched ledger an empty entry of the right shape and dtype, which other ranks can join."""
        rows, entries = getattr(self, f"{ledger}_rows"), getattr(self, f"{ledger}_entries")
        if isinstance(rows, list) and not rows:
            rows.append(torch.empty(0, dtype=torch.int64, device=self.device))
            width = len(self._ledgers[ledger])
            entries.append(torch.empty(0, width, dtype=torch.float64, device=self.device))

    @override
    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        for ledger in self._ledgers:
            self._fill(ledger)
        super()._sync_dist(*args, **kwargs)


def ratio(numerator: float, denominator: float) -> float:
    """`numerator / denominator`, or NaN where there is nothing to divide by."""
    return numerator / denominator if denominator else float("nan")


def histogram(values_N: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Counts in bins of equal width, int64 (bins,); the outer bins hold what lies beyond them, NaN is left out."""
    place_N = (values_N.double() - low) * (bins / (high - low))
    place_N = place_N[~place_N.isnan()].clamp(0, bins - 1)
    return torch.bincount(place_N.long(), minlength=bins)
