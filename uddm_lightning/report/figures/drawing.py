"""Colours for light and dark pages, and the parts of a figure of the report."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogFormatter, NullFormatter

# Each colour of a figure as (light page, dark page); the page swaps them, files hold the first. Nothing else has the
# colours of the regimes. An ordered ramp is one path from violet to cyan, whose lightness rises steadily, so that the
# order is seen with any kind of colour vision.
TEXT = ("#24292f", "#d8dee4")
FAINT = ("#8c959f", "#6e7681")
REGIME_COLOURS = {
    "memorizing": ("#b93815", "#ff8a5c"),
    "in transition": ("#8a5a00", "#e3b341"),
    "generalizing": ("#17693a", "#57c97a"),
    "not learned yet": ("#5f6872", "#9aa4af"),
}
SIZE_COLOURS = {  # transition sizes have the colour of the regime that ends or begins there
    "n_mem": REGIME_COLOURS["memorizing"],
    "n_half": REGIME_COLOURS["in transition"],
    "n_gen": REGIME_COLOURS["generalizing"],
}
RECOVERED = ("#005a94", "#58b0f0")
LOST = ("#a3195b", "#ff8fc0")
BROKEN = ("#6a3fb0", "#c3a5f5")
ONE_COLUMN, TWO_COLUMNS = 3.4, 6.9  # inches, of a page with two columns
WIDTH = TWO_COLUMNS
SMALL = 8.5  # points of the smallest text: 11 pixels
CATEGORIES = (("#0072b2", "#56b4e9"), ("#8e44ad", "#cf9fe6"), ("#00808a", "#4fd0d8"), ("#a3437e", "#e795c4"))
# of files, which would differ from one writing to the next
_DATES: Mapping[str, Sequence[str]] = {
    "svg": ("Date", "Creator", "Format", "Type"),
    "pdf": ("CreationDate", "Creator", "Producer"),
    "png": ("Software",),
}
RAMP = 12  # steps of the ordered colours that a page knows
_RAMPS = (("#5b1a8c", "#2456c0", "#0e7c97"), ("#9a78ee", "#6ba6ff", "#a5f0ff"))  # on light and on dark pages


def ramp(index: int, total: int) -> tuple[str, str]:
    """Return colour `index` of `total` ordered ones, for a light and for a dark page."""
    place = round(index / max(total - 1, 1) * (RAMP - 1)) / (RAMP - 1)
    light, dark = (to_hex(LinearSegmentedColormap.from_list("ramp", list(colours))(place)) for colours in _RAMPS)
    return light, dark


@cache
def palette() -> dict[str, tuple[str, str]]:
    """Return the colours of the figures, by the name of their CSS variable."""
    named = {"text": TEXT, "faint": FAINT, "recovered": RECOVERED, "lost": LOST, "broken": BROKEN}
    named |= {name.replace(" ", "-"): pair for name, pair in REGIME_COLOURS.items()}
    named |= {f"category-{index}": pair for index, pair in enumerate(CATEGORIES)}
    return named | {f"ramp-{index}": ramp(index, RAMP) for index in range(RAMP)}


def category(index: int) -> str:
    """Return the colour of the backbone with this number."""
    return CATEGORIES[index % len(CATEGORIES)][0]


class ReportFigure(Figure):
    """A figure without a window.

    Args:
        width: in inches.
        height: in inches.
    """

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(self)

    def arrange(self, is_narrow: bool) -> None:
        """Place the panels for a page of one column, or for a wide one."""


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
        times: the t of artists, by gid; the page shows those of one t at first.
        is_narrow: whether the figure also fits into one column.
        handles: entries of the legend.
        has_files: whether its files stand beside the page.
    """

    name: str
    title: str
    figure: ReportFigure
    caption: str
    table: Table
    tips: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    is_narrow: bool = True
    handles: Sequence[Artist] = ()
    has_files: bool = True

    def __post_init__(self) -> None:
        self._width = self.figure.get_figwidth()
        self._placed = 0.0  # the width of the last arrangement
        self.shows_all_times = False  # the page shows the lines of one t at a time, files show all

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG."""
        return self._saved("svg", self._width)

    @cached_property
    def narrow_svg(self) -> bytes:
        """The figure as SVG in the width of one column, for phones; empty if its panels need more."""
        return self._saved("svg", ONE_COLUMN) if self.is_narrow else b""

    @cached_property
    def narrow_height(self) -> float:
        """Height of the figure in the width of one column, in inches; 0 if its panels need more."""
        found = re.search(rb'height="([\d.]+)pt"', self.narrow_svg)
        return float(found[1]) / 72 if found else 0.0

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the ends of the names of the figure's files, with their contents.

        They are a PNG, an SVG, a PDF for two columns and, if the figure fits, a PDF for one column. Fonts have the same
        size in all of them. Lines of all t are seen together there, so names of lines avoid all of them.
        """
        yield ".svg", self._saved("svg", self._width, is_file=True) if self.times else self.svg
        yield ".pdf", self._saved("pdf", self._width, is_file=True)
        yield ".png", self._saved("png", self._width, is_file=True)
        if self.is_narrow:
            _ = self.narrow_svg  # of the page, in the same width as the next one
            yield "-column.pdf", self._saved("pdf", ONE_COLUMN, is_file=True)

    def mark(self, line: Line2D, texts: Sequence[str]) -> None:
        """Set the texts that the markers of `line` show."""
        gid = f"tips-{len(self.tips)}"
        line.set_gid(gid)
        self.tips[gid] = list(texts)

    def at(self, t: float | None, *artists: Artist) -> None:
        """Tell the t of artists, so that the page can show and hide them together."""
        for artist in artists if t is not None else ():
            gid = artist.get_gid() or f"time-{len(self.times)}"
            artist.set_gid(gid)
            self.times[gid] = t or 0.0

    def legend(self, handles: Sequence[Artist]) -> None:
        """Write a legend below the panels, in as many columns as the width allows."""
        self.handles = handles
        longest = max((len(str(handle.get_label())) for handle in handles), default=1)
        columns = int(self.figure.get_figwidth() * 72 / (5.0 * longest + 34))
        for old in self.figure.legends:
            old.remove()
        self.figure.legend(
            handles=list(handles),
            loc="outside lower center",
            ncols=max(1, min(columns, len(handles), 5)),
            handlelength=2.2,
            columnspacing=1.4,
        )

    def _saved(self, kind: str, width: float, is_file: bool = False) -> bytes:
        self.shows_all_times = is_file
        if not self._placed:
            _write_powers_as_numbers(self.figure)
        if width != self._placed:
            self.figure.arrange(is_narrow=width == ONE_COLUMN)
            if self._placed or width != self._width:
                self.figure.set_figwidth(width)
                self.figure.set_layout_engine("constrained")
                if self.handles:
                    self.legend(self.handles)
            self._placed = width
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=kind, metadata=dict.fromkeys(_DATES[kind]))
        self.figure.set_layout_engine(None)  # the layout holds for this width; with "none" each file is drawn twice
        return buffer.getvalue()


def _write_powers_as_numbers(figure: Figure) -> None:
    """Label logarithmic axes by plain numbers: powers would need formulas, which texts of a page do not have."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatter):
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                axis.set_minor_formatter(NullFormatter())


@contextmanager
def style() -> Iterator[None]:
    """Set the style of all figures; text is kept as text, without formulas."""
    settings: dict[Any, Any] = {
        **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), FAINT[0]),
        **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), TEXT[0]),
        **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), SMALL),
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
        "pdf.fonttype": 42,
        "svg.hashsalt": "uddm",
        "savefig.dpi": 150,
        "figure.facecolor": "white",
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> ReportFigure:
    """Return an empty figure of a size in inches."""
    return ReportFigure(width, height)
