"""Write the tables of a finished sweep to `uddm_lightning/commands/demo_sweep/`, for `uddm demo`.

    uddm sweep -c demo --sizes 2,64,256,1024,65536 --out DIR
    python .ci/store_demo.py DIR

Sequences are the first of each split, size and t, as many as the interactive figure needs; all other tables are whole.
A sweep of an earlier version has no `raw_bits`; they are computed as the probe computes them, from the lengths of rows.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from uddm_lightning.commands.demo import TABLES
from uddm_lightning.probes.nelbo import NelboProbe
from uddm_lightning.results.declarations import Declarations, read_declarations, write_declarations
from uddm_lightning.results.tables import read_table, write_table

ROWS = 64  # sequences for each split, size and t


def main(folder: Path) -> None:
    """Store the tables of the sweep in `folder`."""
    TABLES.mkdir(exist_ok=True)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    measured, declared = read_table(folder / "measurements.csv"), read_declarations(folder)
    if "raw_bits" not in measured[0]:
        ids = int(facts["tokenizer"].removesuffix(" ids").rpartition(" ")[2])
        add_raw_bits(measured, pq.read_table(folder / "rows.parquet"), ids)
        declared = with_raw_bits(declared)
    write_declarations(TABLES, declared)
    write_table(TABLES / "measurements.csv", measured, list(measured[0]))
    sizes = sorted({int(row["train_size"]) for row in measured})
    facts["command"] = f"uddm sweep -c demo --sizes {','.join(map(str, sizes))} --out DIR"
    (TABLES / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for name in ("rows.parquet", "sequences.parquet"):
        table = pq.read_table(folder / name)
        if name.startswith("sequences"):
            table = _first(table)
        pq.write_table(table, TABLES / name, compression="zstd", compression_level=19)
    size = sum(path.stat().st_size for path in TABLES.iterdir())
    sys.stdout.write(f"{size / 1e6:.2f} MB in {TABLES}\n")


def add_raw_bits(measured: list[dict[str, str]], draws: pa.Table, ids: int) -> None:
    """Add the column `raw_bits`: the mean number of tokens of the rows of a NELBO times log2 of the number of ids."""
    nelbo = draws.filter(pc.equal(draws["metric"], "nelbo"))
    groups = nelbo.group_by(["run", "weights", "split"]).aggregate([("count", "mean")]).to_pylist()
    tokens = {(one["run"], one["weights"], one["split"]): one["count_mean"] for one in groups}
    for row in measured:
        known = tokens.get((row["run"], row["weights"], row["split"])) if row["metric"] == "nelbo" else None
        row["raw_bits"] = "" if known is None else str(known * math.log2(ids))


def with_raw_bits(declared: Declarations) -> Declarations:
    """Return declarations in which the NELBO has the column `raw_bits`."""
    (column,) = (column for column in NelboProbe.columns if column.name == "raw_bits")
    return Declarations(
        replace(one, columns=(*one.columns, column)) if NelboProbe.kind in one.metrics else one for one in declared
    )


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
