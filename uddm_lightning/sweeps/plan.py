"""Decide which sizes a sweep trains, and train them in that order."""

from collections.abc import Callable

from uddm_lightning.core.errors import InputError
from uddm_lightning.results.reference import reference
from uddm_lightning.results.tables import read_table
from uddm_lightning.sweeps import sizes
from uddm_lightning.sweeps.run_all import Sweep
from uddm_lightning.sweeps.sweep_run import SweepRun
from uddm_lightning.transition import next_sizes

PLATEAU = 8  # rows; fewer say little about other subsets of that size


def plan(
    text: str | None, budget: int | None, largest: int | float, rows_of: Callable[[int | float], int]
) -> Callable[[Sweep], None]:
    """Return a function that trains the sizes of a sweep.

    Args:
        text: `--sizes`; None stands for 2 to `largest`, each four times the one before.
        budget: `--budget`, the number of sizes that `auto` trains.
        largest: end of the range if `text` does not give one.
        rows_of: converts a size to rows, and refuses one that the pool does not hold.

    Raises:
        InputError: `text` or `budget` is wrong; the message names it.
    """
    end = rows_of(largest)
    text = sizes.default_text(end) if text is None else text
    sizes.check_budget(text, budget)
    if budget is None:  # not auto
        fixed = sizes.parse(text, rows_of)
        return lambda work: _train_all(work, fixed)
    _, *ends = text.split(":")
    if len(ends) not in (0, 2):
        raise InputError(f"`--sizes {text}`: give auto, or auto:first:last such as auto:2:8192.")
    first = PLATEAU if end > PLATEAU else min(2, end)
    low, high = [rows_of(sizes.number(one, text)) for one in ends] or [first, end]
    if low >= high:
        raise InputError(f"`--sizes {text}`: {low} to {high} rows is no range.")
    return lambda work: _train_near_the_transition(work, low, high, budget)


def _train_all(work: Sweep, fixed: list[int]) -> None:
    for variant in work.variants:
        work.check_same_config(variant, fixed)
    runs = [run for variant in work.variants for run in work.runs(variant, fixed)]
    work.train([*runs, *work.best_runs(max(fixed))], _result_line)


def _train_near_the_transition(work: Sweep, low: int, high: int, budget: int) -> None:
    for variant in work.variants:
        taken: list[int] = []
        while True:
            rows = [row for run in work.runs(variant, taken) if run.finished() for row in _measurements(run)]
            if not (more := next_sizes(rows, low, high, budget=budget, taken=taken)):
                break
            work.check_same_config(variant, more)
            work.train(work.runs(variant, more), _result_line)
            taken += more
    work.train(work.best_runs(high), _result_line)


def _measurements(run: SweepRun) -> list[dict[str, str]]:
    path = run.folder / "measurements.csv"  # missing if every probe is disabled
    return read_table(path) if path.exists() else []


def _result_line(run: SweepRun, seconds: float) -> str:
    """Return the recovery of a run at the t nearest 0.1, and the seconds that the run took."""
    rows = [row for row in _measurements(run) if row["metric"] == "recovery" and row["recovery"]]
    if not rows:
        return f"{seconds:.0f} s"
    last = max(int(row["step"]) for row in rows)
    rows = [row for row in rows if int(row["step"]) == last]
    t = reference(float(row["t"]) for row in rows)
    rows = [row for row in rows if float(row["t"]) == t]
    found = {row["split"]: float(row["recovery"]) for row in rows}
    values = ", ".join(f"{split} {found[split]:.3f}" for split in ("train", "test") if split in found)
    return f"recovery at t = {t:g}: {values} ({seconds:.0f} s)"
