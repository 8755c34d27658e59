"""Figures of measurement records, and panels of restored text."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from uddm_lightning.core.files import write_atomically
from uddm_lightning.results.declarations import TimeCurve
from uddm_lightning.results.tables import Record

COLOURS = {"train": "#0b6e99", "test": "#c2410c", "samples": "#4d7c0f", "random": "#6d28d9"}
STYLES = {"train": "-", "test": "--", "samples": "-.", "random": "-."}


def time_figure(curves: Sequence[tuple[TimeCurve, str]], records: Sequence[Record], title: str) -> Figure:
    """Return a figure with a panel against t for each declared curve, with bands for 95 % intervals.

    Args:
        curves: declared by the probes, with their entries of the column `metric`.
        records: of one kind of weights.
        title: heading of the figure.
    """
    number = max(len(curves), 1)
    width, height = 4.5 * number, 3.6
    figure = Figure(figsize=(width, height), dpi=110)
    # margins in inches, around panels of 3.65 inches: a constrained layout doubles the time of every drawing
    edges = {"left": 0.7 / width, "right": 1 - 0.15 / width, "bottom": 0.5 / height, "top": 1 - 0.6 / height}
    figure.subplots_adjust(**edges, wspace=0.85 / 3.65)
    panels = figure.subplots(1, number, squeeze=False)[0]
    for (curve, metric), axes in zip(curves, panels, strict=False):
        for split, colour in COLOURS.items():
            rows = sorted(
                (r for r in records if r["metric"] == metric and r["split"] == split), key=lambda r: float(r["t"])
            )
            if rows or split in ("train", "test"):
                _curve(axes, rows, curve.column, colour, STYLES[split], split)
            for level, style in curve.levels if split == "test" and rows else ():
                axes.plot([r["t"] for r in rows], [r[level] for r in rows], style, color="grey", label=level)
        axes.set(xlabel="corruption time t", xlim=(0.0, 1.02), ylabel=curve.label)
        axes.set_title(curve.title, y=1.0)  # without y, every drawing looks for the ticks above the panel
        axes.set_ylim(bottom=curve.bottom)
        if curve.top is not None:
            axes.set_ylim(top=curve.top)
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    figure.suptitle(title)
    return figure


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Return the pixels of a figure, uint8 (height, width, 3)."""
    canvas: Any = FigureCanvasAgg(figure)  # has no types
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def write_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a PNG atomically.

    Raises:
        InputError: the folder cannot be written to.
        DiskFullError: there is no space left.
    """
    write_atomically(path, partial(imsave, arr=picture, format="png"))


def _curve(axes: Axes, rows: Sequence[Record], kind: str, colour: str, style: str, label: str) -> None:
    times = [r["t"] for r in rows]
    axes.plot(times, [r[kind] for r in rows], style, marker="o", markersize=4, color=colour, label=label)
    lows, highs = [r[f"{kind}_low"] for r in rows], [r[f"{kind}_high"] for r in rows]
    axes.fill_between(times, lows, highs, color=colour, alpha=0.15, linewidth=0)


def sequence_panel(original: Sequence[str], corrupted: Sequence[str], restored: Sequence[str]) -> str:
    """Return three aligned lines and a line of marks, for a monospaced panel.

    Args:
        original: pieces of text, one per token.
        corrupted: the same at time t.
        restored: the same after the chain.

    Returns:
        Four lines; under every token stands "+" if it was corrupted and recovered, "x" if it was not recovered, "!" if
        it was clean and was changed.
    """
    lines = ["", "", "", ""]
    for x0, xt, xhat in zip(original, corrupted, restored, strict=True):
        mark = (" !" if xt == x0 else "+x")[xhat != x0]
        # a line break or a tab would shift the rest of the line
        pieces = ["".join(sign if sign.isprintable() else "·" for sign in text) for text in (x0, xt, xhat, mark)]
        for index, piece in enumerate(pieces):
            lines[index] += piece.ljust(max(map(len, pieces)))
    labels = ("original  ", "corrupted ", "restored  ", "          ")
    return "\n".join(label + line for label, line in zip(labels, lines, strict=True))
