"""The tables of a run: measurements.csv, a tidy row for each measurement; sequences.parquet, restored rows; and
basins.parquet, how far single rows can be corrupted; and rows.parquet, the counts and sums of every draw.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import lock_for_update, write_atomically, write_text

Record = dict[str, Any]  # one row before it is written, by column
Row = Mapping[str, str]  # one row of measurements.csv, all fields as text

LOCK = "tables.lock"  # in the folder of the tables; held while one of them is read, changed and written
KEY = ("run", "metric", "step", "weights", "split", "t", "sampler", "sampler_steps")
COMMON = (  # columns of every metric; those that the probes declare stand behind them
    *("run", "backbone", "parameters", "train_size", "seed", "metric", "step", "weights", "split", "t"),
    *("sampler", "sampler_steps", "n_rows", "n_draws"),
)

SEQUENCES = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        ("step", pa.int64()),
        ("weights", pa.string()),
        ("t", pa.float64()),
        ("sampler", pa.string()),
        ("sampler_steps", pa.int64()),
        ("x0", pa.list_(pa.int32())),
        ("xt", pa.list_(pa.int32())),
        ("xhat", pa.list_(pa.int32())),
        ("entropy", pa.list_(pa.float32())),
        ("x0_text", pa.list_(pa.string())),  # the piece of text that each id stands for
        ("xt_text", pa.list_(pa.string())),
        ("xhat_text", pa.list_(pa.string())),
    ]
)

BASINS = pa.schema(
    [
        ("row_id", pa.int64()),
        ("place", pa.int64()),  # number of the draw; a row may be drawn more than once, with other noise
        ("split", pa.string()),
        ("step", pa.int64()),
        ("weights", pa.string()),
        ("sampler", pa.string()),
        ("sampler_steps", pa.int64()),
        ("critical_t", pa.float64()),  # null where no chain was led away from the row
        (
            "critical_t_identity",
            pa.float64(),
        ),  # below it, a chain that does nothing ends at the row more often than not
        ("margin", pa.list_(pa.float32())),  # of the counted tokens of the clean row, in nats
        ("times", pa.list_(pa.float64())),
        ("led", pa.list_(pa.int64())),  # chains from each time whose noise had led away from the row, 0 where none ran
        ("returned", pa.list_(pa.int64())),  # those of them that returned
    ]
)


ROWS = pa.schema(
    [
        ("metric", pa.string()),  # recovery, entropy or nelbo
        ("split", pa.string()),
        ("step", pa.int64()),
        ("weights", pa.string()),
        ("t", pa.float64()),  # null for the NELBO, which has a range
        ("sampler", pa.string()),  # "" where none was run
        ("sampler_steps", pa.int64()),
        ("row_id", pa.int64()),
        ("document", pa.int64()),  # null where no document gives several rows
        ("draw", pa.int64()),  # its place among the draws of the split
        ("corrupted", pa.int64()),  # tokens that noise changed, and of them those that came back
        ("recovered", pa.int64()),
        ("clean", pa.int64()),  # tokens that noise left alone, and of them those that the chain changed
        ("changed", pa.int64()),
        ("count", pa.int64()),  # tokens that the two sums are over, in nats
        ("entropy", pa.float64()),
        ("loss", pa.float64()),  # mean over times
        ("margin", pa.float64()),  # smallest of the row's counted tokens, in nats
    ]
)


def of_main_chain(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The rows of one chain with one number of steps for each kind and split; and those for which no chain was run.

    The chain is the first by name, which is "ancestral" where it was run; of several numbers of steps it is the one
    with most rows, and of those the largest.
    """
    counts = Counter(
        (row["metric"], row["split"], row["sampler"], row["sampler_steps"]) for row in rows if row["sampler"]
    )
    main: dict[tuple[str, str], tuple[str, str]] = {}
    for kind, split, chain, steps in sorted(counts, key=lambda one: (one[2], -counts[one], -int(one[3] or 0))):
        main.setdefault((kind, split), (chain, steps))
    return [
        row
        for row in rows
        if not row["sampler"] or main[row["metric"], row["split"]] == (row["sampler"], row["sampler_steps"])
    ]


def update_rows(
    path: Path, rows: Sequence[Record], schema: pa.Schema, key: Sequence[str], overwrite: bool = False
) -> None:
    """As `update_parquet`, for rows as dictionaries."""
    update_parquet(path, pa.Table.from_pylist(list(rows), schema=schema), key, overwrite)


def update_parquet(path: Path, new: pa.Table, key: Sequence[str], overwrite: bool = False) -> None:
    """Replaces the rows of a parquet file whose `key` rows of `new` have, keeps the others, sorts, writes atomically.

    Where the file has more rows of a key than `new`, it keeps them, unless told to overwrite them.

    Args:
        path: the file.
        new: rows, in order; the file gets their schema.
        key: columns by which rows are told apart in groups, and sorted.
        overwrite: replace more rows by fewer.

    Raises:
        InputError: another process does not let go of the tables.
    """

    def keys(table: pa.Table) -> list[tuple[Any, ...]]:
        return list(zip(*(table[name].to_pylist() for name in key), strict=True))

    def chosen(table: pa.Table, those: set[tuple[Any, ...]]) -> pa.Table:
        return table.filter(pa.array([one in those for one in keys(table)], pa.bool_()))

    with lock_for_update(path.parent / LOCK):
        if path.exists():
            old = pq.read_table(path, schema=new.schema)
            had, has = Counter(keys(old)), Counter(keys(new))
            taken = {one for one in has if overwrite or has[one] >= had[one]}
            new = pa.concat_tables([chosen(old, had.keys() - taken), chosen(new, taken)])
        new = new.sort_by([(name, "ascending") for name in key])  # stable
        write_atomically(path, lambda temporary: pq.write_table(new, temporary, compression="zstd"))


def update_table(
    path: Path, records: Iterable[Record], overwrite: bool = False, columns: Sequence[str] = ()
) -> list[Record]:
    """Replace the rows of `path` that have the keys of `records`, keep the others, sort, and write atomically.

    A row that was measured on more draws than the record of its key is kept unless `overwrite` is set.

    Args:
        path: the file.
        records: rows by column; fields with a leading underscore are left out.
        overwrite: replace more draws by fewer.
        columns: declared columns in their order; further ones of the records and of the file stand behind them.

    Returns:
        The records that were not written because the table holds more draws.

    Raises:
        InputError: the file is not a table of measurements, or another process holds its lock.
    """
    left, records = [], list(records)
    with lock_for_update(path.parent / LOCK):
        rows = {_key(row): row for row in _renamed(read_table(path), records)} if path.exists() else {}
        for record in records:
            row = {name: _text(value) for name, value in record.items() if not name.startswith("_")}
            row = {**dict.fromkeys(COMMON, ""), **row}
            if not overwrite and _draws(rows.get(_key(row), {})) > _draws(row):
                left.append(record)
            else:
                rows[_key(row)] = row
        write_table(path, rows.values(), columns)
    return left


def _draws(row: Mapping[str, str]) -> int:
    return int(row.get("n_draws") or 0)


def _renamed(rows: Iterable[dict[str, str]], records: Iterable[Record]) -> Iterator[dict[str, str]]:
    """Rows with the name that a run has now, where they were written under the name of a folder or of a copy.

    The table of a run holds that run alone: what has its network, size and seed is the same.
    """
    about = ("backbone", "train_size", "seed")
    names = {tuple(_text(record.get(name)) for name in about): str(record["run"]) for record in records}
    for row in rows:
        yield {**row, "run": names.get(tuple(row[name] for name in about), row["run"])}


def write_table(path: Path, rows: Iterable[dict[str, str]], columns: Sequence[str] = ()) -> None:
    """Write rows of text, sorted by key, atomically.

    Args:
        path: the file.
        rows: by column; a missing one is empty.
        columns: their order behind the common ones; further columns of the rows follow.
    """
    text, by_key = io.StringIO(newline=""), {_key(row): row for row in rows}
    names = dict.fromkeys([*COMMON, *columns, *(name for row in by_key.values() for name in row)])
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(by_key[key] for key in sorted(by_key))
    write_text(path, text.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a measurement table, all fields as text; a common column that is missing is empty.

    Raises:
        InputError: a column of the key is missing.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in KEY if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"`{path}` is not a table of measurements: it has no column {missing[0]!r}. Move it away and try again."
            )
        return [{**dict.fromkeys(COMMON, ""), **row} for row in reader]


def _key(row: dict[str, str]) -> tuple[Any, ...]:
    numbers = {name: float(row[name]) if row[name] else -1.0 for name in ("step", "t", "sampler_steps")}
    return tuple(numbers.get(column, row[column]) for column in KEY)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def number(text: Any) -> float | None:
    """Return the finite number that a field of a table or of a JSON file holds, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
