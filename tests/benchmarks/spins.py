"""Figures of `configs/spins.md` that no sweep draws: capacity, training, and the bridge from spins to text.

    python -m tests.benchmarks.spins capacity FILE.png
    python -m tests.benchmarks.spins training FILE.png RUN RUN    the runs have validations on the way
    python -m tests.benchmarks.spins bridge FILE.png RUN RUN      the runs have measured basins
    python -m tests.benchmarks.spins asymmetry RUN...             prints a line for each run

Shapes: P patterns, L spins, R rows.
"""

import csv
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uddm_lightning.backbones import HebbMemory, LinearMemory, PseudoLikelihoodMemory, TextStatistics
from uddm_lightning.runs.run import load_run
from uddm_lightning.stats.gardner import gardner_margin

RESULTS = Path(__file__).parents[1] / "configs" / "results"
SPINS, LOADS = 200, (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
COLOURS = {"train": "#0072b2", "test": "#d55e00"}
LINES = {"margin": "mean margin [nats]", "hebbian_factor": "mean of 1 - tanh(margin / 2)"}


def stabilities(backbone: LinearMemory, rows_PL: torch.Tensor) -> NDArray[np.float64]:
    """Return the normalised margins x_l h_l / |J_l| of patterns of spins, float64 (P, L)."""
    couplings_LL = backbone.couplings().detach().double()
    spins_PL = backbone.spins(rows_PL).double()
    found: NDArray[np.float64] = (spins_PL * (spins_PL @ couplings_LL.T) / couplings_LL.norm(dim=1)).numpy()
    return found


def trained(rows_PL: torch.Tensor, steps: int = 600) -> PseudoLikelihoodMemory:
    """Return a memory trained by pseudo-likelihood on all patterns at every step."""
    backbone = PseudoLikelihoodMemory(2, rows_PL.shape[1])
    optimizer = torch.optim.Adam(backbone.parameters(), lr=0.02)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        logits_NV = backbone.head(backbone(rows_PL, torch.zeros(len(rows_PL))).flatten(0, 1))
        optimizer.zero_grad()
        loss: Any = torch.nn.functional.cross_entropy(logits_NV, rows_PL.flatten())
        loss.backward()
        optimizer.step()
    return backbone


def draw_capacity(path: Path) -> None:
    """Draw the load of the Hopfield network against N, and smallest margins against the load."""
    with (RESULTS / "hopfield.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    *sizes, limit = lines
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = [1 / math.sqrt(float(line["spins"])) for line in sizes]
    y, errors = ([float(line[name]) for line in sizes] for name in ("load", "standard_error"))
    left.errorbar(x, y, [1.96 * error for error in errors], fmt="o", color=COLOURS["train"], label="simulation")
    end, error = float(limit["load"]), float(limit["standard_error"])
    left.errorbar([0], [end], [1.96 * error], fmt="s", color=COLOURS["test"], label="extrapolation")
    left.axhline(0.138, color="grey", linewidth=1, label="theory, 0.138")
    left.set(xlabel="1 / sqrt(number of spins)", ylabel="load at which half is kept", title="Hebb's rule")
    left.legend(frameon=False, fontsize=8)
    grid = np.linspace(0.1, 2.0, 100)
    right.plot(grid, [gardner_margin(float(load)) for load in grid], color="grey", label="Gardner's bound")
    generator = torch.Generator().manual_seed(0)
    for load in LOADS:
        rows_PL = torch.randint(2, (round(load * SPINS), SPINS), generator=generator)
        hebb = HebbMemory(2)
        hebb.prepare(TextStatistics(lambda rows_PL=rows_PL: rows_PL, torch.ones(2)))  # type: ignore[misc] # a default binds the loop's value
        for backbone, style, name in ((trained(rows_PL), "o", "pseudo-likelihood"), (hebb, "s", "Hebb's rule")):
            smallest = np.median(stabilities(backbone, rows_PL).min(0))  # over patterns, then the median spin
            colour = COLOURS["train" if style == "o" else "test"]
            right.plot(load, smallest, style, color=colour, label=name if load == LOADS[0] else None)
            sys.stdout.write(f"load {load}: {name} {smallest:.3f}, bound {gardner_margin(load):.3f}\n")
    right.axhline(0.0, color="black", linewidth=0.6)
    right.set(xlabel="patterns per spin", ylabel="smallest margin of a spin", title=f"{SPINS} spins, random patterns")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def print_asymmetry(runs: list[Path]) -> None:
    """Print the asymmetry of the learned couplings of each run."""
    for run in runs:
        backbone = load_run(run).model.task.backbone
        assert isinstance(backbone, LinearMemory)
        sys.stdout.write(f"{run.name}: asymmetry {backbone.asymmetry():.3f}\n")


def table(run: Path) -> list[dict[str, str]]:
    with (run / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] == "recovery" and row["weights"] == "ema"]


def draw_training(path: Path, runs: list[Path]) -> None:
    """Draw margins of clean tokens and the factor of Hebb's rule against the step, a column for each run."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, len(runs), squeeze=False)
    for run, column in zip(runs, panels.T, strict=True):
        rows = table(run)
        column[0].set_title(f"{rows[0]['backbone']}, {rows[0]['train_size']} rows", fontsize=10)
        for axes, (name, label) in zip(column, LINES.items(), strict=True):
            for split, colour in COLOURS.items():
                points = {int(row["step"]): float(row[name]) for row in rows if row["split"] == split and row[name]}
                axes.plot(*zip(*sorted(points.items()), strict=True), "o-", color=colour, markersize=3, label=split)
            axes.set(xlabel="step", ylabel=label)
            axes.axhline(0.0, color="black", linewidth=0.6)
        column[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def rank_correlation(x: list[float], y: list[float]) -> float:
    """Return Spearman's rank correlation, with mean ranks for ties."""

    def ranks(values: list[float]) -> NDArray[np.float64]:
        array = np.array(values)
        found: NDArray[np.float64] = ((array[:, None] > array).sum(1) + (array[:, None] >= array).sum(1)) / 2.0
        return found

    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def guaranteed_times(backbone: object, margin_RL: list[list[float]]) -> list[float] | None:
    """Return the noise at which half of the draws have few enough wrong spins for `LinearMemory.guaranteed_flips`.

    Noise at t turns a spin with probability t / 2, and d is the median number of wrong spins at t = 2 d / L. Rows that
    are no fixed points have t = 0. None for a model other than a memory of spins.
    """
    if not isinstance(backbone, LinearMemory):
        return None
    flips_R = backbone.guaranteed_flips(torch.tensor(margin_RL, dtype=torch.float64)).clamp(min=0)
    return [2 * flips / len(margin_RL[0]) for flips in flips_R.tolist()]


def draw_bridge(path: Path, runs: list[Path]) -> None:
    """Draw the critical corruption of rows against their smallest margin, a panel for each run."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels: Any = figure.subplots(1, len(runs), squeeze=False)[0]
    for run, axes in zip(runs, panels, strict=True):
        _bridge_panel(axes, run)
    figure.savefig(path, dpi=100)


def _bridge_panel(axes: Axes, run: Path) -> None:
    rows = pq.read_table(run / "basins.parquet").to_pylist()
    last = max(row["step"] for row in rows)
    known = [row for row in rows if row["step"] == last and row["critical_t"] is not None and row["margin"]]
    pairs = {
        split: [(min(row["margin"]), row["critical_t"]) for row in known if row["split"] == split] for split in COLOURS
    }
    for split, colour in COLOURS.items():
        axes.plot(*zip(*pairs[split], strict=True), "o", color=colour, markersize=3, alpha=0.6, label=split)
    backbone = load_run(run).model.task.backbone if (run / "config.yaml").exists() else None
    if times := guaranteed_times(backbone, [row["margin"] for row in known]):
        x = [min(row["margin"]) for row in known]
        axes.plot(x, times, "_", color="black", markersize=7, label="guaranteed by the margins")
        broken = sum(t > row["critical_t"] for t, row in zip(times, known, strict=True))
        flips = f"{min(times):.3f} to {max(times):.3f} guaranteed by the margins, above t_c in {broken} rows"
        sys.stdout.write(f"{run.name}: {flips}\n")
    nothing = np.mean([row["critical_t_identity"] for row in known])
    axes.axhline(float(nothing), color="grey", linewidth=1, label="a chain that does nothing")
    axes.axvline(0.0, color="black", linewidth=0.6)
    about = table(run)[0]
    rho = rank_correlation(*map(list, zip(*(pair for found in pairs.values() for pair in found), strict=True)))
    sys.stdout.write(f"{run.name}: rank correlation of smallest margin and t_c {rho:.2f} over {len(known)} rows\n")
    axes.set(xlabel="smallest margin of a row [nats]", ylabel="critical corruption t_c")
    axes.set_title(f"{about['backbone']}, {about['train_size']} rows; rank correlation {rho:.2f}", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    kind, first, *others = sys.argv[1:]
    torch.set_num_threads(1)
    if kind == "asymmetry":
        print_asymmetry([Path(run) for run in (first, *others)])
    elif kind == "capacity":
        draw_capacity(Path(first))
    else:
        {"training": draw_training, "bridge": draw_bridge}[kind](Path(first), [Path(run) for run in others])
