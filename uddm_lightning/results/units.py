"""Sums over units of error, computed from rows.parquet.

Units of error are taken to be independent draws from the population of a measurement. A unit is:

* a draw of noise, if all rows of the training subset were measured (a census: only the noise is random; the variation
  between subsets is measured with several seeds);
* else a document, if documents give several rows;
* else a row, with all its draws.

The number of a unit depends only on its row, draw or document, so a unit has the same number at every size and seed.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uddm_lightning.results.tables import Row, number

FLOAT = NDArray[np.float64]
INT = NDArray[np.int64]

SUMS = {"recovery": ("recovered", "corrupted"), "entropy": ("entropy", "count"), "nelbo": ("loss", "count")}
_CELL = ("run", "metric", "split", "weights", "sampler", "sampler_steps", "t")  # columns that identify a measurement
Place = tuple[str, str, float | None, int, int]  # kind, split, t, size, seed
_MANY = 1 << 31  # more than the number of draws


class Units(NamedTuple):
    """One measurement, summed over its units of error.

    Attributes:
        key_U: numbers of the units, ascending.
        sum_U: recovered tokens, entropies or losses [nats] of each unit.
        count_U: corrupted or counted tokens.
    """

    key_U: INT
    sum_U: FLOAT
    count_U: FLOAT

    @property
    def influence_U(self) -> FLOAT:
        """Contribution of each unit to the error of the ratio; the squares sum to its variance."""
        total, rows = self.count_U.sum(), int((self.count_U > 0).sum())
        residual_U = self.sum_U - self.sum_U.sum() / total * self.count_U
        influence_U: FLOAT = residual_U / total * np.sqrt(rows / max(rows - 1, 1))
        return influence_U


def unit_keys(row_R: INT, draw_R: INT, document_R: INT, census: bool) -> INT:
    """Return the number of the unit to which each measured row belongs.

    Args:
        row_R: number of the row in the pool of its split.
        draw_R: number of the draw.
        document_R: number of the row's document; -1 if documents do not give several rows.
        census: whether all rows of the subset were measured.

    Returns:
        Numbers (R,): not negative for rows and draws, negative for documents.
    """
    single = len(np.unique(row_R)) == len(row_R)  # a row with one draw has the number of that draw, as in a census
    key_R: INT = row_R * _MANY + (draw_R + 1) * (census or single)
    return key_R if census else np.where(document_R >= 0, -document_R - 1, key_R)


def read_units(draws: pa.Table, rows: Iterable[Row]) -> dict[Place, Units]:
    """Return the sums over units of the measurements in a table.

    Args:
        draws: rows.parquet of a sweep, with `run` and `size`.
        rows: rows of measurements.csv.

    Returns:
        The units by kind, split, t, size and seed; measurements without rows are missing.
    """
    wanted = {_cell(row): (int(row["train_size"]), int(row["seed"])) for row in rows if row["metric"] in SUMS}
    runs = pa.array(list({cell[0] for cell in wanted}), pa.string())
    draws = draws.filter(pc.is_in(draws["run"], value_set=runs))
    draws = draws.append_column("place", pa.array(np.arange(len(draws))))
    cells = draws.group_by(list(_CELL), use_threads=False).aggregate([("place", "list")])
    names = ("row_id", "draw", "document", *sorted({column for pair in SUMS.values() for column in pair}))
    columns = {name: draws[name].to_numpy(zero_copy_only=False) for name in names}
    result: dict[Place, Units] = {}
    keys = zip(*(cells[name].to_pylist() for name in _CELL), strict=True)
    for cell, place in zip(keys, cells["place_list"], strict=True):
        if cell in wanted:
            (_, kind, split, *_, t), (size, seed) = cell, wanted[cell]
            place_R = place.values.to_numpy()
            part = {name: column[place_R] for name, column in columns.items()}
            result[kind, split, t, size, seed] = _units(kind, part, split == "train", size)
    return result


def _cell(row: Row) -> tuple[Any, ...]:
    """Return the key of a row of measurements.csv, with the values and types of rows.parquet."""
    steps = number(row.get("sampler_steps"))
    text = (row["run"], row["metric"], row["split"], row["weights"], row["sampler"] if row["metric"] != "nelbo" else "")
    return (*text, None if steps is None or row["metric"] == "nelbo" else int(steps), number(row["t"]))


def _units(kind: str, part: dict[str, NDArray[np.generic]], train: bool, size: int) -> Units:
    row_R, draw_R = part["row_id"].astype(np.int64), part["draw"].astype(np.int64)
    document_R = np.nan_to_num(part["document"].astype(np.float64), nan=-1.0).astype(np.int64)
    census = train and len(np.unique(row_R)) >= size
    key_U, place_R = np.unique(unit_keys(row_R, draw_R, document_R, census), return_inverse=True)
    sums = [np.bincount(place_R, np.nan_to_num(part[name].astype(np.float64)), len(key_U)) for name in SUMS[kind]]
    return Units(key_U, *(one.astype(np.float64) for one in sums))
