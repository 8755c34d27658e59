"""Recovery by every chain that was run."""

from uddm_lightning.report.drawing import Table
from uddm_lightning.report.study import Study, number
from uddm_lightning.report.words import count, decimal, visible, with_interval


def chains_table(study: Study) -> Table | None:
    """What each chain restored, run by run; None where all runs have one chain only."""
    rows = [row for row in study.by_chain if row["backbone"] in study.backbones]
    if len({row["chain"] for row in rows}) < 2:
        return None
    runs: dict[tuple[str, float, int, int, str, str], dict[str, str]] = {}
    for row in rows:
        value, low, high = (number(row.get(name)) for name in ("recovery", "recovery_low", "recovery_high"))
        place = (row["backbone"], float(row["t"]), int(row["size"]), int(row["seed"]), row["chain"], row["steps"])
        runs.setdefault(place, {})[row["split"]] = with_interval(value, low, high)
    lines = []
    for place in sorted(runs):
        backbone, t, size, seed, chain, steps = place
        cells = [runs[place].get(split, decimal(None)) for split in ("train", "test", "random")]
        lines.append([visible(backbone), f"{t:g}", count(size), str(seed), f"{chain}, {steps} steps", *cells])
    return Table(["model", "t", "N", "seed", "chain", "train", "test", "random tokens"], lines)
