"""Write the tables of a finished sweep to `uddm_lightning/commands/demo_sweep/`, for `uddm demo`.

    uddm sweep -c demo --sizes 2,64,256,1024,65536 --out DIR
    python .ci/store_demo.py DIR

Sequences are the first of each split, size and t, as many as the interactive figure needs; all other tables are whole.
"""

import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from uddm_lightning.commands.demo import TABLES
from uddm_lightning.results.tables import read_table

ROWS = 64  # sequences for each split, size and t
COPIED = ("measurements.csv", "columns.json")


def main(folder: Path) -> None:
    """Store the tables of the sweep in `folder`."""
    TABLES.mkdir(exist_ok=True)
    for name in COPIED:
        shutil.copyfile(folder / name, TABLES / name)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    sizes = sorted({int(row["train_size"]) for row in read_table(folder / "measurements.csv")})
    facts["command"] = f"uddm sweep -c demo --sizes {','.join(map(str, sizes))} --out DIR"
    (TABLES / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
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
