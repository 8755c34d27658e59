"""Cost as a function of vocabulary, length, batch size, network and number of training rows.

Shapes: N rows to train on; the others as in `paths`.
"""

from collections import defaultdict
from itertools import islice
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor
from tqdm import tqdm

from tests.benchmarks.paths import PATHS, Setting, Sides
from tests.benchmarks.timing import MIB, compare
from uddm_lightning.data.subset import Subset
from uddm_lightning.data.train_dataset import TrainDataset

HEAD = ("grows", "to", "path", "side", "ms", "low", "high", "peak MiB")
Row = tuple[str, ...]

# Fixed values of the other quantities; a point takes about a minute on two cores.
BASE = {"V": 8192, "B": 4, "L": 128, "hidden_size": 256}
GROWS = {
    "V": (100, 1_000, 10_000, 30_522, 100_000),
    "L": (32, 128, 512, 1_024),
    "B": (1, 4, 16, 64),
    "hidden_size": (64, 128, 256, 512, 768),
    "N": (100, 10_000, 1_000_000, 10_000_000, 1_000_000_000),
}
TITLES = {"V": "vocabulary", "L": "positions", "B": "rows of a batch", "hidden_size": "width", "N": "training rows"}


class EndlessRows:
    """A pool of any number of rows. Only the choice of rows is timed, not reading from a disk."""

    def tokens(self, ids: Tensor) -> Tensor:
        return ids[:, None] % torch.arange(2, 34)

    def valid(self, ids: Tensor) -> None: ...

    special = valid


def training_batch(rows: int) -> Sides:
    """A thousand batches of 32 rows from a subset of `rows` rows: order, times and keys."""

    def ours() -> None:
        subset = Subset(rows, rows, 0, "0" * 16)
        stream = TrainDataset(EndlessRows(), subset, 32, 0)  # type: ignore[arg-type]  # as far as the stream can tell
        for _ in islice(stream, 1000):
            pass

    return {"ours": ours}


def measure(setting: Setting, rounds: int) -> list[Row]:
    """Return the rows of the table."""
    found = []
    points = [(name, value) for name, values in GROWS.items() for value in values]
    for name, value in tqdm(points, leave=False):
        if name == "N":
            sides = {"thousand batches": training_batch(value)}
        else:
            at = setting._replace(**{**BASE, name: value})
            if name == "hidden_size":
                at = at._replace(heads=value // 32)
            sides = {path: PATHS[path](at) for path in ("training step", "reverse step")}
        for path, both in sides.items():
            both.pop("floor", None)
            for side, timing in compare(both, rounds).items():
                times = [f"{1e3 * seconds:.2f}" for seconds in timing[:3]]
                memory = "" if timing.peak is None else f"{timing.peak / MIB:.0f}"
                found.append((name, str(value), path, side, *times, memory))
    return found


def draw(rows: list[Row], path: Path) -> None:
    """Draw time against each quantity on logarithmic axes; solid is ours, dashed is the textbook."""
    curves = defaultdict(list)
    for grows, value, what, side, ms, low, high, _ in rows:
        curves[grows, what, side].append((float(value), float(ms), float(low), float(high)))
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    panels = dict(zip(GROWS, figure.subplots(1, len(GROWS)), strict=True))
    colours = {"training step": "#0072b2", "reverse step": "#d55e00", "thousand batches": "#007a5a"}
    for (grows, what, side), points in curves.items():
        x, ms, low, high = zip(*points, strict=True)
        label = what if side == "ours" else f"{what}, textbook"
        style = "-o" if side == "ours" else "--s"
        axes = panels[grows]
        axes.plot(x, ms, style, color=colours[what], label=label, markersize=4)
        axes.fill_between(x, low, high, color=colours[what], alpha=0.15, linewidth=0)
    for grows, axes in panels.items():
        axes.set(xscale="log", yscale="log", xlabel=f"{TITLES[grows]} {grows}" if len(grows) == 1 else TITLES[grows])
        axes.grid(alpha=0.25)
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels["hidden_size"].set_xticks(GROWS["hidden_size"], [str(value) for value in GROWS["hidden_size"]])
    panels["N"].set(yscale="linear", ylim=(0, None))
    panels["V"].set_ylabel("milliseconds")
    panels["V"].legend(fontsize=8, frameon=False)
    panels["N"].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
