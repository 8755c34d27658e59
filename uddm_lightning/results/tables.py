"""Write and read the tables of a run.

* measurements.csv: one tidy row for each measurement;
* sequences.parquet: restored rows;
* basins.parquet: critical corruption of single rows;
* rows.parquet: counts and sums of every draw.
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

LOCK = "tables.lock"  # in the folder of the tables; held while a table is updated
KEY = ("run", "metric", "step", "weights", "split", "t", "sampler", "sampler_steps")
COMMON = (  # columns of every metric; the declared columns of the probes follow
    *("run", "backbone", "parameters", "train_size", "seed", "metric", "step", "weights", "split", "t"),
    *("sampler", "sampler_steps", "n_rows", "n_draws"),
)

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()
MODEL = (("split", TEXT), ("step", INT), ("weights", TEXT))
CHAIN = (("sampler", TEXT), ("sampler_steps", INT))  # the sampler is "" if no chain was run

SEQUENCES = pa.schema(
    [
        ("row_id", INT),
        *MODEL,
        ("t", FLOAT),
        *CHAIN,
        *((name, pa.list_(pa.int32())) for name in ("x0", "xt", "xhat")),
        ("entropy", pa.list_(pa.float32())),
        # piece of text of each id
        *((name, pa.list_(TEXT)) for name in ("x0_text", "xt_text", "xhat_text")),
    ]
)

BASINS = pa.schema(
    [
        ("row_id", INT),
        ("place", INT),  # number of the draw; a row may be drawn more than once, with other noise
        *MODEL,
        *CHAIN,
        ("critical_t", FLOAT),  # null if noise left the row in no chain
        ("critical_t_identity", FLOAT),  # from smaller t, most chains that do nothing end at the row
        ("margin", pa.list_(pa.float32())),  # of the counted tokens of the clean row, in nats
        ("times", pa.list_(FLOAT)),
        ("led", pa.list_(INT)),  # chains from each time whose noise left the row; 0 if none was run
        ("returned", pa.list_(INT)),  # chains among them that returned
    ]
)

ROWS = pa.schema(
    [
        ("metric", TEXT),  # recovery, entropy or nelbo
        *MODEL,
        ("t", FLOAT),  # null for the NELBO, which has a range
        *CHAIN,
        ("row_id", INT),
        ("document", INT),  # null if no document gives several rows
        ("draw", INT),  # number of the draw in its split
        ("corrupted", INT),  # tokens that noise changed
        ("recovered", INT),  # corrupted tokens that the chain restored
        ("clean", INT),  # tokens that noise did not change
        ("changed", INT),  # clean tokens that the chain changed
        ("count", INT),  # number of tokens in the sums `entropy` and `loss`
        ("entropy", FLOAT),  # in nats
        ("loss", FLOAT),  # mean over times, in nats
        ("margin", FLOAT),  # smallest margin of the row's counted tokens, in nats
    ]
)


def of_main_chain(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the rows of the main chain of each metric and split, and the rows without a chain.

    The main chain is the first by name ("ancestral" if it was run). If it was run with several numbers of steps, the
    number with the most rows is kept; in a tie, the largest.
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
    """Call `update_parquet` with rows given as dictionaries."""
    update_parquet(path, pa.Table.from_pylist(list(rows), schema=schema), key, overwrite)


def update_parquet(path: Path, new: pa.Table, key: Sequence[str], overwrite: bool = False) -> None:
    """Replace the groups of rows in a parquet file that `new` has, too; keep the others, sort, and write atomically.

    A group with more rows in the file than in `new` is kept unless `overwrite` is set.

    Args:
        path: the file.
        new: rows, in order; the file gets their schema.
        key: columns that identify a group of rows; the file is sorted by them.
        overwrite: replace more rows by fewer.

    Raises:
        InputError: another process holds the lock of the tables.
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
        columns: declared columns in their order; other columns of the records and of the file follow.

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
    """Yield the rows with the present name of their run, which may have been renamed or copied.

    The table of a run holds only that run, so rows with its network, size and seed belong to it.
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
        columns: declared columns in their order after the common ones; other columns of the rows follow.
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


def bounds(row: Row, column: str) -> tuple[float | None, float | None, float | None]:
    """Return the value of a column and the ends of its interval; None for an empty field."""
    return number(row.get(column)), number(row.get(f"{column}_low")), number(row.get(f"{column}_high"))


def number(text: Any) -> float | None:
    """Return the finite number that a field of a table or of a JSON file holds, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
