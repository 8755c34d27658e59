"""Figure of recovery by every chain that was run, with its cost."""

from collections.abc import Mapping

from uddm_lightning.report.figures.drawing import Table
from uddm_lightning.report.formatting import count, decimal, percent, visible, with_interval
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import bounds, number

_COSTS = ("coincidence", "errors_before", "errors_after", "clean_change_rate")  # of test rows
_HEAD = (
    *("model", "t", "N", "seed", "sampler", "train", "test", "random tokens"),
    *("coincidence", "wrong before, test", "wrong after, test", "clean tokens changed, test"),
)


def chains_table(study: Study) -> Table | None:
    """Return the recovery of each sampler, run by run; None if all runs have one sampler."""
    rows = [row for row in study.by_chain if row["backbone"] in study.backbones]
    if len({(row["sampler"], row["sampler_steps"]) for row in rows}) < 2:
        return None
    runs: dict[tuple[str, float, int, int, str, str], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        size, seed, chain = int(row["train_size"]), int(row["seed"]), (row["sampler"], row["sampler_steps"])
        runs.setdefault((row["backbone"], float(row["t"]), size, seed, *chain), {})[row["split"]] = row
    lines = []
    for place in sorted(runs):
        backbone, t, size, seed, sampler, steps = place
        found = (bounds(runs[place].get(split, {}), "recovery") for split in ("train", "test", "random"))
        cells = [with_interval(*one) for one in found]
        level, *shares = (number(runs[place].get("test", {}).get(name)) for name in _COSTS)
        cells_of_run = [visible(backbone), f"{t:g}", count(size), str(seed), f"{sampler}, {steps} steps", *cells]
        lines.append([*cells_of_run, decimal(level), *map(percent, shares)])
    return Table(list(_HEAD), lines)
