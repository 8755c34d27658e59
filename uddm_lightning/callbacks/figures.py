"""Pictures and panels made from measurement records and restored sequences."""

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
from uddm_lightning.results.tables import Record

COLOURS = {"train": "#0b6e99", "test": "#c2410c", "samples": "#4d7c0f", "random": "#6d28d9"}
STYLES = {"train": "-", "test": "--", "samples": "-.", "random": "-."}


def recovery_figure(records: Sequence[Record], title: str) -> Figure:
    """Recovery and entropy against t, with bands for 95 % intervals and grey lines for chance and coincidence.

    Args:
        records: measurement records of one kind of weights.
        title: what was measured.
    """
    figure = Figure(figsize=(9.0, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, axes in (("recovery", left), ("entropy", right)):
        for split, colour in COLOURS.items():
            rows = sorted(
                (r for r in records if r["metric"] == kind and r["split"] == split), key=lambda r: float(r["t"])
            )
            if rows or split in ("train", "test"):
                _curve(axes, rows, kind, colour, STYLES[split], split)
            if kind == "recovery" and split == "test" and rows:
                times = [r["t"] for r in rows]
                axes.plot(times, [r["chance"] for r in rows], ":", color="grey", label="chance")
                axes.plot(times, [r["coincidence"] for r in rows], "-.", color="grey", label="coincidence")
        axes.set_xlabel("corruption time t")
        axes.set_xlim(0.0, 1.02)
        axes.grid(alpha=0.25)
    left.set(ylabel="token recovery", ylim=(-0.02, 1.02), title="restored share of corrupted tokens")
    right.set(ylabel="conditional entropy [nats]", title="entropy of each token")
    right.set_ylim(bottom=-0.05)
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    figure.suptitle(title)
    return figure


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """The figure as colours of shape (height, width, 3): drawn once, for every place that shows it."""
    canvas: Any = FigureCanvasAgg(figure)  # has no types
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def write_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Writes a PNG, whole or not at all.

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
    """Three aligned lines and a line of marks, for a monospaced panel.

    Args:
        original: pieces of text, one per token.
        corrupted: the same at time t.
        restored: the same after the chain.

    Returns:
        Four lines; under every token stands "+" if it was corrupted and recovered, "x" if it was not recovered, "!" if
        it was clean and got broken.
    """
    lines = ["", "", "", ""]
    for x0, xt, xhat in zip(original, corrupted, restored, strict=True):
        mark = (" !" if xt == x0 else "+x")[xhat != x0]
        # a line break or a tab would move all that follows
        pieces = ["".join(sign if sign.isprintable() else "·" for sign in text) for text in (x0, xt, xhat, mark)]
        for index, piece in enumerate(pieces):
            lines[index] += piece.ljust(max(map(len, pieces)))
    labels = ("original  ", "corrupted ", "restored  ", "          ")
    return "\n".join(label + line for label, line in zip(labels, lines, strict=True))
