"""Lines at the end of `uddm fit`: the regime of the run, its folder and the next commands."""

import shlex
from pathlib import Path

from uddm_lightning.results.parquet import read_parquet, with_run_columns
from uddm_lightning.results.tables import read_table
from uddm_lightning.transition import estimate


def ending_lines(folder: Path) -> list[str]:
    """Return the regime of a finished run by its last measurement, its folder, and the next commands.

    Args:
        folder: of the run.

    Raises:
        InputError: a table is damaged.
    """
    name = shlex.quote(str(folder))
    has_events = next(folder.rglob("events.out.tfevents*"), None) is not None  # another logger writes none
    return [
        *_regime(folder),
        f"run: {folder}",
        f"next: uddm sample {name} -n 16 --out samples.parquet",
        *([f"      tensorboard --logdir {name}"] if has_events else []),
    ]


def _regime(folder: Path) -> list[str]:
    """Return a sentence about the regime; empty without measurements of recovery."""
    path = folder / "measurements.csv"
    rows = read_table(path) if path.exists() else []
    if not rows:
        return []
    step = max(int(row["step"]) for row in rows)
    draws = read_parquet(folder / "rows.parquet", [("step", "=", step)])
    found = estimate(rows, None if draws is None else with_run_columns(draws, rows[0]))
    regimes = [one for backbone in found["backbones"].values() for one in backbone["regimes"]]
    return [f"regime at N = {one['train_size']:,}: {one['regime']}. {one['reason']}" for one in regimes[:1]]
