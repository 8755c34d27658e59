"""Readers of the parquet tables of a run and of a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uddm_lightning.core.errors import InputError
from uddm_lightning.results.tables import BASINS, ROWS, SEQUENCES

SCHEMAS = {"sequences.parquet": SEQUENCES, "basins.parquet": BASINS, "rows.parquet": ROWS}
RUN_COLUMNS = ("run", "backbone", "train_size", "seed")  # in the tables of a sweep, to tell its runs apart


def read_parquet(path: Path, filters: Any = None) -> pa.Table | None:
    """Return a table, or None if there is no such file.

    Args:
        path: the file.
        filters: rows to read, as `pyarrow.parquet.read_table` takes them.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return pq.read_table(path, filters=filters)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"`{path}` cannot be read ({error}). Move it away; reports and model cards do without it."
        ) from error


def with_run_columns(table: pa.Table, row: Mapping[str, str]) -> pa.Table:
    """Return the table of a run with `RUN_COLUMNS`, whose values a row of measurements.csv gives."""
    for place, name in enumerate(RUN_COLUMNS):
        is_text = name in ("run", "backbone")
        value, kind = (row[name], pa.string()) if is_text else (int(row[name]), pa.int64())
        table = table.add_column(place, name, pa.array([value] * len(table), kind))
    return table
