"""Base class of the metrics: keeps sums for each draw, so that intervals can be clustered by unit of error.

A row may be measured many times with other noise. Its draws may arrive in any order, in batches of any size and on any
rank. Each draw adds one entry. Entries are sorted before they are added, so a result depends on the set of draws only,
bit for bit.

A unit of error is drawn independently of the others. If every row of a split is measured (a census, as of a small
training subset), only the noise is random, and the unit is the draw. If rows are a sample, the unit is the document if
documents give several rows, otherwise the row.

Shapes: B rows of a batch, L positions, R distinct rows, U units of error, M draws.
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
ORIGIN = ("document", "place")  # last columns of a ledger of draws
Draws = dict[str, NDArray[Any]]  # columns (M,) by name


class RowIds(NamedTuple):
    """Ids of the rows of a batch and of their draws.

    Attributes:
        rows_B: int64 row ids; -1 marks a filler row, which is ignored.
        documents_B: int64 document numbers of the rows; None if no document gives several rows.
        places_B: int64 draw numbers; None if all entries of a row are one draw.
    """

    rows_B: Tensor
    documents_B: Tensor | None = None
    places_B: Tensor | None = None


class PerUnit(NamedTuple):
    """Sums of entries by unit of error.

    Attributes:
        rows: number of distinct rows.
        draws: number of distinct draws if their numbers are known, otherwise number of entries.
        sums: float64 sums (U,) by column name; sums of integers are exact.
    """

    rows: int
    draws: int
    sums: dict[str, FLOAT]


def fold(values_BL: Tensor) -> Tensor:
    """Return sums over positions in a fixed tree order, float64 (B,).

    The order of a library's sum may depend on the shape of the batch. Here the sum of a row has the same bits in every
    batch and on every device.

    Example:
        >>> fold(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([6.], dtype=torch.float64)
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
    """Return the sums of the values under the mask (see `fold`); other values may be NaN."""
    return fold(torch.where(mask_BL, values_BL.double(), 0.0))


def check(rows_B: Tensor, mask_BL: Tensor, **tensors_BL: Tensor) -> None:
    """Check shapes and dtypes of the arguments of `update`.

    Args:
        rows_B: int64 row ids.
        mask_BL: bool mask of the counted positions.
        tensors_BL: other arguments by name; each must have the shape of `mask_BL`.

    Raises:
        ValueError: a shape or dtype is wrong; the message names the argument.
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
    """A metric whose state is one entry per draw of a row. Subclasses declare the columns and record entries.

    An empty metric computes NaN, also on ranks that received filler rows only. torchmetrics' warning about `compute`
    before `update` is therefore disabled.
    """

    full_state_update: ClassVar[bool] = False  # type: ignore[misc]  # torchmetrics types it as an instance attribute
    is_differentiable: ClassVar[bool] = False  # type: ignore[misc]  # as above

    def __init__(self) -> None:
        # `compute` is cheap, and a cache would go stale in metrics with a second way to update
        super().__init__(compute_with_cache=False)
        self.population: int | None = None  # number of rows of the split; None if the rows are a sample
        self._ledgers: dict[str, tuple[str, ...]] = {}

    @property
    @override
    def update_called(self) -> bool:
        return True

    def declare(self, ledger: str, *columns: str) -> None:
        """Add a ledger of entries with the given columns: one state with ids and one with numbers."""
        self._ledgers[ledger] = columns
        self.add_state(f"{ledger}_rows", [], dist_reduce_fx="cat")
        self.add_state(f"{ledger}_entries", [], dist_reduce_fx="cat")

    def record(self, ledger: str, rows_B: Tensor, *columns_B: Tensor) -> None:
        """Record one entry per row that is not a filler.

        Args:
            ledger: name of the ledger.
            rows_B: int64 ids; negative ones mark filler rows.
            columns_B: one value per row for each declared column; integers are exact below 2^53.
        """
        real_B = rows_B >= 0
        entries = torch.stack([column_B.detach().double() for column_B in columns_B], 1)
        getattr(self, f"{ledger}_rows").append(rows_B[real_B].to(self.device))
        getattr(self, f"{ledger}_entries").append(entries[real_B].to(self.device))

    def record_draws(self, ledger: str, ids: RowIds, *columns_B: Tensor) -> None:
        """Record one entry per row that is not a filler, in a ledger whose last columns are `ORIGIN`.

        Args:
            ledger: name of the ledger.
            ids: ids of the rows and of their draws.
            columns_B: one value per row for each other declared column.
        """
        rows_B, *origin_B = (torch.full_like(ids.rows_B, -1) if part_B is None else part_B for part_B in ids)
        self.record(ledger, rows_B, *columns_B, *origin_B)

    def per_unit(self, ledger: str) -> PerUnit:
        """Return the sums of the entries by unit of error (see the top of the file)."""
        rows, entries = self.entries(ledger)
        places = entries[:, -1].astype(np.int64)
        sums = added(self.units(rows, entries), entries)
        n_draws = len(entries) if (places < 0).any() else len(np.unique(np.stack([rows, places], 1), axis=0))
        return PerUnit(len(np.unique(rows)), n_draws, dict(zip(self._ledgers[ledger], sums.T, strict=True)))

    def units(self, rows: NDArray[np.int64], entries: FLOAT) -> NDArray[np.int64]:
        """Return two numbers for each entry, (M, 2), equal for entries of the same unit of error."""
        documents, places = entries[:, -2:].astype(np.int64).T
        if len(np.unique(rows)) == self.population:
            return np.stack([rows, places], 1)
        return np.stack([documents, np.where(documents < 0, rows, -1)], 1)  # a row without a document is a unit

    def per_draw(self, ledger: str) -> tuple[Draws, Draws]:
        """Return `row_id`, `document` and `draw` of each draw, and its sums by column name.

        Draws are in the order of row and draw number. An unknown document or draw number is -1.
        """
        rows, entries = self.entries(ledger)
        draws = np.stack([rows, entries[:, -1].astype(np.int64)], 1)
        sums = added(draws, entries[:, :-2])
        firsts = np.unique(draws, axis=0, return_index=True)[1]
        names = self._ledgers[ledger][:-2]
        document, place = entries[firsts, -2:].T.astype(np.int64)
        origin = {"row_id": rows[firsts], "document": document, "draw": place}
        return origin, dict(zip(names, sums.T, strict=True))

    def entries(self, ledger: str) -> tuple[NDArray[np.int64], FLOAT]:
        """Return row ids (M,) and columns (M, C) of all M entries, sorted by row, then by the last columns."""
        self._fill(ledger)
        rows = dim_zero_cat(getattr(self, f"{ledger}_rows")).cpu().numpy()
        entries = dim_zero_cat(getattr(self, f"{ledger}_entries")).cpu().numpy()
        order = np.lexsort((*entries.T, rows))
        return rows[order], entries[order]

    def _fill(self, ledger: str) -> None:
        """Add an empty entry of the right shape and dtype to an empty ledger, so that other ranks can join it."""
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


def added(groups_MK: NDArray[np.int64], entries_MC: FLOAT) -> FLOAT:
    """Return the sums of entries with equal group numbers, (U, C); groups in ascending order."""
    order = np.lexsort(groups_MK.T[::-1])  # stable
    groups_MK, entries_MC = groups_MK[order], entries_MC[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(groups_MK, axis=0) != 0).any(1)][: len(groups_MK)])
    return np.add.reduceat(entries_MC, starts, axis=0) if len(starts) else entries_MC


def ratio(numerator: float, denominator: float) -> float:
    """Return `numerator / denominator`, or NaN if the denominator is 0."""
    return numerator / denominator if denominator else float("nan")


def histogram(values_N: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Return counts in bins of equal width, int64 (bins,); values outside count in the outer bins, NaN is left out."""
    place_N = (values_N.double() - low) * (bins / (high - low))
    place_N = place_N[~place_N.isnan()].clamp(0, bins - 1)
    return torch.bincount(place_N.long(), minlength=bins)
