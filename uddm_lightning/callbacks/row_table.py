"""Counts and sums of every draw of a run, in rows.parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uddm_lightning.results.parquet import read_parquet
from uddm_lightning.results.tables import ROWS, Record, update_parquet

FILE = "rows.parquet"
KEY = ("metric", "split", "step", "weights", "t", "sampler", "sampler_steps")


def write_draws(folder: Path, records: Sequence[Record], overwrite: bool) -> None:
    """Write the draws of measurements to the table of a run.

    Args:
        folder: of the run.
        records: of probes, with the columns of their draws under `_draws`; other records are left out.
        overwrite: replace more draws by fewer.
    """
    tables = [_draws(record) for record in records if "_draws" in record]
    if tables:
        update_parquet(folder / FILE, pa.concat_tables(tables), KEY, overwrite)


def draws_until(folder: Path, metric: str, weights: str, step: int) -> pa.Table:
    """Return the draws of a metric under one kind of weights, of all validations of a run up to a step."""
    wanted = (pc.field("metric") == metric) & (pc.field("weights") == weights) & (pc.field("step") <= step)
    found = read_parquet(folder / FILE, wanted)
    return ROWS.empty_table() if found is None else found


def _draws(record: Record) -> pa.Table:
    """Return the draws of one measurement as rows of the table."""
    columns = dict(record["_draws"])
    number = len(columns["row_id"])
    common = {**record, "sampler": record.get("sampler") or ""}

    def column(field: pa.Field) -> pa.Array:
        values: Sequence[Any] | None = columns.get(field.name)
        if values is None:
            return pa.array([common.get(field.name) if field.name in KEY else None] * number, field.type)
        array = np.asarray(values)
        missing = array == -1 if field.name == "document" else np.isnan(array)
        return pa.array(array, field.type, mask=missing)

    return pa.table([column(field) for field in ROWS], schema=ROWS)
