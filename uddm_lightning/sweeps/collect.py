"""Merge the tables of all runs in a folder."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from uddm_lightning.core.errors import InputError
from uddm_lightning.core.files import write_atomically
from uddm_lightning.core.progress import format_duration
from uddm_lightning.results.declarations import Declarations, read_declarations, write_declarations
from uddm_lightning.results.parquet import SCHEMAS, read_parquet, with_run_columns
from uddm_lightning.results.tables import read_table, write_table
from uddm_lightning.runs.manifest import MACHINES, SECONDS, read_manifest

COMMAND = "command.txt"  # of the sweep
Row = dict[str, str]


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of runs with measurements: those in `folder/runs`, or in `folder` if that does not exist."""
    inside = folder / "runs"
    return sorted(path.parent for path in (inside if inside.is_dir() else folder).glob("*/measurements.csv"))


def collect(folder: Path) -> list[Row]:
    """Write measurements.csv and the parquet tables of all runs; without runs, read the existing measurements.csv.

    The parquet tables keep only the rows of each run's last step.

    Returns:
        The rows of measurements.csv.

    Raises:
        InputError: the folder holds no measurements, or a table is damaged.
    """
    runs = run_folders(folder)
    path = folder / "measurements.csv"
    if not runs:
        if not path.exists():
            if not folder.is_dir():
                raise InputError(f"`{folder}` is no folder. Give the folder of a sweep, or of runs.")
            raise InputError(f"`{folder}` holds no measurements: neither measurements.csv nor runs that have measured.")
        return read_table(path)
    rows: list[Row] = []
    tables: dict[str, list[pa.Table]] = {name: [] for name in SCHEMAS}
    owners: dict[str, tuple[Path, list[Row]]] = {}
    for run in runs:
        measured = read_table(run / "measurements.csv")
        names = list(dict.fromkeys(row["run"] for row in measured))
        if len(names) > 1:
            raise InputError(
                f"`{run}` holds {len(names)} runs ({names[0]}, {names[1]}, ...): it is the folder of a sweep, and "
                f"`{folder}` should be one of a sweep or of runs. Give `{run}` itself."
            )
        name = names[0] if names else str(run)
        owner, theirs = owners.setdefault(name, (run, measured))
        if theirs != measured:
            raise InputError(
                f"`{owner}` and `{run}` are copies of one run, {name}, with different measurements. Remove one of them."
            )
        if owner != run:
            continue
        rows += measured
        for name, found in tables.items():
            if measured and (run / name).exists():
                found.append(_last(run / name, SCHEMAS[name], measured))
    declared = Declarations()
    for run in runs:
        declared = declared.merged(read_declarations(run))
    if declared:
        write_declarations(folder, declared)
    write_table(path, rows, declared.columns)
    for name, found in tables.items():
        if found:
            write_atomically(folder / name, partial(pq.write_table, pa.concat_tables(found)))
    return read_table(path)


def training_facts(folder: Path) -> dict[str, str]:
    """Return a short description of the runs in a folder: command, missing runs, machine, text, versions."""
    manifests = [manifest for run in run_folders(folder) if (manifest := read_manifest(run))]
    if not manifests:
        return {}
    first = manifests[0]

    def kind(entry: object) -> str:
        return str(entry.get("class_path", entry) if isinstance(entry, dict) else entry).rpartition(".")[2]

    machines = dict.fromkeys(name for manifest in manifests for name in manifest.get(MACHINES, ()))
    timed = [float(manifest[SECONDS]) for manifest in manifests if SECONDS in manifest]
    taken = f"{format_duration(sum(timed))}, the sum over {len(timed)} of {len(manifests)} runs, with measuring"
    facts = {
        "command": _command(folder),
        "not measured": _without_measurements(folder),
        "machine": ", ".join(machines),
        "duration": taken if timed else "",
        "text": kind(first.get("source")),
        "tokenizer": f"{kind(first.get('tokenizer_spec'))}, {first.get('vocab_size')} ids",
        "packing": kind(first.get("packing")),
        "corpus": ", ".join(sorted({str(manifest.get("corpus")) for manifest in manifests})),
        "version": ", ".join(f"{name} {number}" for name, number in first.get("versions", {}).items()),
    }
    return {name: text for name, text in facts.items() if text}


def _without_measurements(folder: Path) -> str:
    """Return the names of the runs in a sweep's folder that began and have not measured; empty if there are none."""
    names = [path.parent.name for path in sorted((folder / "runs").glob("*/config.yaml"))]
    missing = [name for name in names if not (folder / "runs" / name / "measurements.csv").exists()]
    return f"{', '.join(missing)}; these runs have no measurements, and this page leaves them out" if missing else ""


def _command(folder: Path) -> str:
    """Return the command of the sweep in a folder; empty for a folder of other runs."""
    try:
        return (folder / COMMAND).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _last(path: Path, schema: pa.Schema, measured: list[Row]) -> pa.Table:
    """Return the rows of a run's last step, with the columns that identify the run."""
    table = read_parquet(path)
    assert table is not None
    for field in schema:  # runs of an earlier version have fewer columns
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    last = max(int(row["step"]) for row in measured)
    table = table.select(schema.names).cast(schema).filter(pc.field("step") == last)
    return with_run_columns(table, measured[0])
