"""Colours for light and dark pages, and the parts of a figure of the report."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import matplotlib
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Each colour of a figure as (light page, dark page); the page swaps them, files hold the first. Every ordered ramp is
# part of plasma, whose lightness rises steadily, so that the order is seen with any kind of colour vision; categorical
# colours are Okabe and Ito's.
TEXT = ("#24292f", "#d8dee4")
FAINT = ("#8c959f", "#6e7681")
STAR = ("#116329", "#57c97a")
RECOVERED = ("#0072b3", "#58b0f0")
LOST = ("#c2410c", "#ff9152")
BROKEN = ("#8a3fa0", "#d59be6")
WIDTH = 5.0  # inches of a single panel: read on a phone without a lens, and on a desk without waste
CATEGORIES = (("#0072b2", "#56b4e9"), ("#d55e00", "#ff9d4d"), ("#007a5a", "#2fcb9b"), ("#a3437e", "#e795c4"))
RAMP = 12  # steps of the ordered colours that a page knows


def ramp(index: int, total: int) -> tuple[str, str]:
    """Return colour `index` of `total` ordered ones, for a light and for a dark page."""
    place = round(index / max(total - 1, 1) * (RAMP - 1)) / (RAMP - 1)
    plasma = colormaps["plasma"]
    return to_hex(plasma(0.72 * place)), to_hex(plasma(0.38 + 0.57 * place))


@cache
def palette() -> dict[str, tuple[str, str]]:
    """Return the colours of the figures, by the name of their CSS variable."""
    named = {"text": TEXT, "faint": FAINT, "star": STAR, "recovered": RECOVERED, "lost": LOST, "broken": BROKEN}
    named |= {f"category-{index}": pair for index, pair in enumerate(CATEGORIES)}
    return named | {f"ramp-{index}": ramp(index, RAMP) for index in range(RAMP)}


def category(index: int) -> str:
    """Return the colour of the backbone with this number."""
    return CATEGORIES[index % len(CATEGORIES)][0]


@dataclass
class Table:
    """A table: a head and rows of cells."""

    head: list[str]
    rows: list[list[str]]


@dataclass
class Drawing:
    """A figure with its texts and its table.

    Args:
        name: one word; names files and the section of the page.
        title: title of the figure.
        figure: the picture.
        caption: how to read it.
        table: the numbers behind it.
        tips: texts at the markers of each artist, by the artist's gid.
        remarks: lines below the figure.
    """

    name: str
    title: str
    figure: Figure
    caption: str
    table: Table
    tips: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG; afterwards its layout is fixed."""
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        self.figure.set_layout_engine("none")
        return buffer.getvalue()

    def mark(self, line: Line2D, texts: Sequence[str]) -> None:
        """Set the texts that the markers of `line` show."""
        gid = f"tips-{len(self.tips)}"
        line.set_gid(gid)
        self.tips[gid] = list(texts)


@contextmanager
def style() -> Iterator[None]:
    """Set the style of all figures; text is kept as text, without formulas."""
    settings: dict[Any, Any] = {
        **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), FAINT[0]),
        **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), TEXT[0]),
        **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 8.5),
        "font.family": ["DejaVu Sans"],
        "font.size": 9.0,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9.0,
        "axes.titlelocation": "left",
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.22,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "lines.markersize": 4.0,
        "lines.linewidth": 1.5,
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "uddm",
        "savefig.dpi": 150,
        "figure.facecolor": "white",
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
