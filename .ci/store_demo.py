"""Write the tables of a finished sweep to `uddm_lightning/commands/demo_sweep/`, for `uddm demo`.

    uddm sweep -c demo --sizes 2:65536:x8 --out DIR
    python .ci/store_demo.py DIR

Sequences are the first of each split, size and t, as many as the interactive figure needs; all other tables are whole.
"""

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from uddm_lightning.commands.demo import TABLES

ROWS = 64  # sequences for each split, size and t
COPIED = ("measurements.csv", "columns.json", "facts.json")


def main(folder: Path) -> None:
    """Store the tables of the sweep in `folder`."""
    TABLES.mkdir(exist_ok=True)
    for name in COPIED:
        shutil.copyfile(folder / name, TABLES / name)
    for name in ("rows.parquet", "sequences.parquet"):
        table = pq.read_table(folder / name)
        if name.startswith("sequences"):
            table = _first(table)
        pq.write_table(table, TABLES / name, compression="zstd", compression_level=19)
    size = sum(path.stat().st_size for path in TABLES.iterdir())
    sys.stdout.write(f"{size / 1e6:.2f} MB in {TABLES}\n")


def _first(table: pa.Table) -> pa.Table:
    """Return the first rows of each group of sequences."""
    seen: dict[tuple[object, ...], int] = {}
    kept = []
    keys = zip(*(table[name].to_pylist() for name in ("run", "weights", "split", "t")), strict=True)
    for place, key in enumerate(keys):
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= ROWS:
            kept.append(place)
    return table.take(kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
