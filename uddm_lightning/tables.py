"""The tables of a run: measurements.csv, a tidy row for each measurement; sequences.parquet, restored rows; and
basins.parquet, how far single rows can be corrupted.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uddm_lightning.errors import InputError
from uddm_lightning.files import write_atomically, write_text

Record = dict[str, Any]  # one row before it is written, by column

KEY = ("run", "kind", "step", "weights", "split", "t", "chain")
COLUMNS = (
    *("run", "backbone", "parameters", "size", "seed", "kind", "step", "weights", "split", "t", "chain", "steps"),
    *("n_rows", "n_draws", "n_corrupted", "n_recovered", "recovery", "recovery_low", "recovery_high", "chance"),
    *("n_clean", "n_unstable", "unstable_rate", "n_exact", "exact_rate", "margin"),
    *("entropy", "entropy_low", "entropy_high", "entropy_corrupted", "entropy_clean"),
    *("entropy_recovered", "entropy_unrecovered", "entropy_leave_one_out", "own_token_leak"),
    *("nelbo", "nelbo_low", "nelbo_high", "t_min", "t_max"),
    *("fixed_tokens", "fixed_rows"),
    *("variance", "variance_norm", "top_gap", "top_probability"),
    *("critical_t", "critical_t_low", "critical_t_high", "n_never", "n_always"),
    *("critic", "generative_perplexity", "generative_perplexity_low", "generative_perplexity_high", "unigram_entropy"),
    *("n_memorized", "n_spurious", "n_generalized", "nearest_distance", "nearest_overlap", "train_overlap"),
)

SEQUENCES = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        ("step", pa.int64()),
        ("weights", pa.string()),
        ("t", pa.float64()),
        ("chain", pa.string()),
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
        ("chain", pa.string()),
        ("steps", pa.int64()),
        ("critical_t", pa.float64()),
        ("margin", pa.list_(pa.float32())),  # of the counted tokens of the clean row, in nats
    ]
)


def of_main_chain(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The rows of one chain for each kind and split: the first by name, which is "ancestral" where it was run; and
    those for which no chain was run.
    """
    main: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["chain"]:
            place = row["kind"], row["split"]
            main[place] = min(main.get(place, row["chain"]), row["chain"])
    return [row for row in rows if row["chain"] in ("", main.get((row["kind"], row["split"])))]


def update_rows(path: Path, rows: Sequence[Record], schema: pa.Schema, key: Sequence[str]) -> None:
    """Replaces the rows of a parquet file whose `key` one of `rows` has, keeps the others, sorts, writes atomically."""

    def key_of(row: Record) -> tuple[Any, ...]:
        return tuple(row[name] for name in key)

    old = pq.read_table(path, schema=schema).to_pylist() if path.exists() else []
    replaced = {key_of(row) for row in rows}
    kept = [row for row in old if key_of(row) not in replaced]
    table = pa.Table.from_pylist(sorted([*kept, *rows], key=key_of), schema=schema)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def update_table(path: Path, records: Iterable[Record]) -> None:
    """Replaces the rows of `path` that have the keys of `records`, keeps the others, sorts, and writes atomically.

    Raises:
        InputError: the file there is not a table of measurements.
    """
    records = list(records)
    rows = {_key(row): row for row in _renamed(read_table(path), records)} if path.exists() else {}
    for record in records:
        row = {column: _text(record.get(column)) for column in COLUMNS}
        rows[_key(row)] = row
    write_table(path, rows.values())


def _renamed(rows: Iterable[dict[str, str]], records: Iterable[Record]) -> Iterator[dict[str, str]]:
    """Rows with the name that a run has now, where they were written under the name of a folder or of a copy.

    The table of a run holds that run alone: what has its network, size and seed is the same.
    """
    about = ("backbone", "size", "seed")
    names = {tuple(_text(record.get(name)) for name in about): str(record["run"]) for record in records}
    for row in rows:
        yield {**row, "run": names.get(tuple(row[name] for name in about), row["run"])}


def write_table(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Writes rows of text, sorted by key, atomically."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    by_key = {_key(row): row for row in rows}
    writer.writerows(by_key[key] for key in sorted(by_key))
    write_text(path, text.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a measurement table, all fields as text; a column that an earlier version did not know is empty.

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
        return [{**dict.fromkeys(COLUMNS, ""), **row} for row in reader]


def _key(row: dict[str, str]) -> tuple[Any, ...]:
    numbers = {"step": int(row["step"]), "t": float(row["t"]) if row["t"] else -1.0}
    return tuple(numbers.get(column, row[column]) for column in KEY)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
