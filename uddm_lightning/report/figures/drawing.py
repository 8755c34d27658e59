"""What all figures share: colours for light and dark pages, the axis of sizes, points that can be pointed at."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from statistics import median
from typing import Any, Literal

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from uddm_lightning.report.estimates import Crossing
from uddm_lightning.report.formatting import count, decimal, with_interval
from uddm_lightning.results.study import Mean

# Each colour of a figure as (light page, dark page); the page swaps them, files hold the first. Every ordered ramp is
# part of plasma, whose lightness rises steadily, so that the order is seen with any kind of colour vision; categorical
# colours are Okabe and Ito's.
TEXT = ("#24292f", "#d8dee4")
FAINT = ("#8c959f", "#6e7681")
STAR = ("#116329", "#57c97a")
RECOVERED = ("#0072b3", "#58b0f0")
LOST = ("#c2410c", "#ff9152")
BROKEN = ("#8a3fa0", "#d59be6")
WIDE = 0.5  # share of what a curve spans beyond which an interval tells nothing
WIDTH = 5.0  # inches of a single panel: read on a phone without a lens, and on a desk without waste
CATEGORIES = (("#0072b2", "#56b4e9"), ("#d55e00", "#ff9d4d"), ("#007a5a", "#2fcb9b"), ("#a3437e", "#e795c4"))
RAMP = 12  # steps of the ordered colours that a page knows

LineStyle = Literal["-", "--", ":", "-."]
ORACLE_STYLES = (
    (0, (6, 1.5, 1, 1.5)),
    (0, (6, 1.5, 1, 1.5, 1, 1.5)),
    (0, (1, 3)),
    (0, (8, 2)),
)  # by number of the oracle
SPLIT_STYLES: dict[str, LineStyle] = {"train": "-", "test": "--", "samples": ":", "random": "-."}
SPLIT_NAMES = {"train": "train", "test": "test", "samples": "own samples", "random": "random tokens"}


def ramp(index: int, total: int) -> tuple[str, str]:
    """Colour `index` of `total` ordered ones, on a light and on a dark page."""
    place = round(index / max(total - 1, 1) * (RAMP - 1)) / (RAMP - 1)
    plasma = colormaps["plasma"]
    return to_hex(plasma(0.72 * place)), to_hex(plasma(0.38 + 0.57 * place))


@cache
def palette() -> dict[str, tuple[str, str]]:
    """Every colour that a figure may use, by the name of its CSS variable."""
    named = {"text": TEXT, "faint": FAINT, "star": STAR, "recovered": RECOVERED, "lost": LOST, "broken": BROKEN}
    named |= {f"category-{index}": pair for index, pair in enumerate(CATEGORIES)}
    return named | {f"ramp-{index}": ramp(index, RAMP) for index in range(RAMP)}


def category(index: int) -> str:
    """Colour of the backbone with this number."""
    return CATEGORIES[index % len(CATEGORIES)][0]


@dataclass
class Table:
    """The numbers behind a figure: a head and rows of cells."""

    head: list[str]
    rows: list[list[str]]


@dataclass
class Drawing:
    """A figure with everything the page says about it.

    Args:
        name: one word; names files and the section of the page.
        title: what it shows.
        figure: the picture.
        caption: how to read it.
        table: the numbers behind it.
        tips: for each artist's gid, what each of its markers says when pointed at.
        remarks: what stands below it, a line each.
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
        """The picture as a file of its own; a picture that is drawn is no longer laid out anew."""
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        self.figure.set_layout_engine("none")
        return buffer.getvalue()

    def mark(self, line: Line2D, texts: Sequence[str]) -> None:
        """Lets the markers of `line` say `texts`."""
        gid = f"tips-{len(self.tips)}"
        line.set_gid(gid)
        self.tips[gid] = list(texts)


@contextmanager
def style() -> Iterator[None]:
    """Calm axes, text that stays text, and no formulas in text from data."""
    settings: dict[Any, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": 9.0,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9.0,
        "axes.titlelocation": "left",
        "axes.edgecolor": FAINT[0],
        "axes.labelcolor": TEXT[0],
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT[0],
        "grid.alpha": 0.22,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "lines.markersize": 4.0,
        "lines.linewidth": 1.5,
        "text.color": TEXT[0],
        "text.parse_math": False,
        "xtick.color": FAINT[0],
        "ytick.color": FAINT[0],
        "xtick.labelcolor": TEXT[0],
        "ytick.labelcolor": TEXT[0],
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "uddm",
        "savefig.dpi": 150,
        "figure.facecolor": "white",
        "axes.facecolor": "none",
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def size_axis(axes: Axes, sizes: Sequence[int], label: str = "training rows N", room: int = 300) -> None:
    """A log2 axis whose ticks are the sizes; ticks whose labels would touch have none.

    Args:
        axes: whose x axis to set.
        sizes: ascending.
        label: what the axis shows.
        room: length of the axis in points.
    """
    axes.set_xscale("log", base=2)
    low, high = math.log2(min(sizes)), math.log2(max(sizes))
    pad = 0.05 * (high - low) if high > low else 1.0
    axes.set_xlim(2 ** (low - pad), 2 ** (high + pad))
    shown, end = [], -math.inf
    for size in sizes:
        place = (math.log2(size) - low) / (high - low + 2 * pad) * room
        half = 2.7 * len(count(size)) + 1.5
        if place - half >= end:
            shown.append(size)
            end = place + half
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FixedFormatter([count(size) for size in shown]))
    axes.xaxis.set_minor_locator(FixedLocator([size for size in sizes if size not in shown]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def curve(drawing: Drawing, axes: Axes, means: Sequence[Mean], name: str, colour: str, style: str, **line: Any) -> None:
    """A curve of means with its band and markers that say their numbers; several seeds show as small points.

    Args:
        drawing: collects what the markers say.
        axes: where to draw.
        means: one for each size.
        name: what the markers say before the number.
        colour: of the curve.
        style: of the line.
        line: other properties of the line.
    """
    if not means:
        return
    sizes = [mean.size for mean in means]
    _band(axes, [(m.size, m.low, m.high) for m in means if m.low is not None and m.high is not None], colour)
    values = [mean.value for mean in means]
    (drawn,) = axes.plot(sizes, values, style, color=colour, marker="o", **line)
    drawing.mark(drawn, [_tip(name, mean) for mean in means])
    points = [point for mean in means for point in mean.points if len(mean.points) > 1]
    if points:
        where = [point.size for point in points], [point.value for point in points]
        (dots,) = axes.plot(*where, "o", markersize=2.2, markeredgewidth=0, color=colour, alpha=0.65)
        texts = [with_interval(point.value, point.low, point.high) for point in points]
        pairs = zip(points, texts, strict=True)
        drawing.mark(dots, [f"{name}, N = {count(p.size)}, seed {p.seed}: {text}" for p, text in pairs])


def level(axes: Axes, sizes: Sequence[int], means: Sequence[Mean], index: int, colour: str) -> None:
    """What an oracle reaches: a thin line, across all sizes where it was measured at a single one.

    Args:
        axes: where to draw.
        sizes: of the models beside it.
        means: one for each size of the oracle.
        index: number of the oracle.
        colour: of the line.
    """
    where, values = [mean.size for mean in means], [mean.value for mean in means]
    if len(means) == 1:
        where, values = [sizes[0], sizes[-1]], values * 2
    axes.plot(where, values, linestyle=ORACLE_STYLES[index % len(ORACLE_STYLES)], color=colour, linewidth=1.0)


def _band(axes: Axes, intervals: Sequence[tuple[int, float, float]], colour: str) -> None:
    """Intervals as a band; one that tells nothing, as with two rows, is a thin stroke, or it would hide the rest."""
    if not intervals:
        return
    span = max(high for _, _, high in intervals) - min(low for _, low, _ in intervals)
    usual = median(high - low for _, low, high in intervals)
    told = [one for one in intervals if one[2] - one[1] <= max(WIDE * span, 3 * usual)]
    sizes, lows, highs = ([one[place] for one in told] for place in range(3))
    axes.fill_between(sizes, lows, highs, color=colour, alpha=0.11, linewidth=0)
    for size, low, high in intervals:
        if (size, low, high) not in told:
            axes.plot([size, size], [low, high], color=colour, alpha=0.35, linewidth=0.8)


def draw_crossing(axes: Axes, crossing: Crossing | None, name: str, label: bool = True, style: str = "-") -> None:
    """Marks a transition size by a line, its interval by a shaded span, and says both.

    Args:
        axes: where to draw; its x axis shows sizes.
        crossing: what to mark; None marks nothing.
        name: of the number.
        label: whether to say it.
        style: of the line.
    """
    if crossing is None:
        return
    if crossing.low is not None and crossing.high is not None:
        axes.axvspan(crossing.low, crossing.high, color=STAR[0], alpha=0.14, linewidth=0, gid="star-span")
    axes.axvline(crossing.value, color=STAR[0], linestyle=style, linewidth=1.3, gid="star-line")
    if label:
        low, high = axes.get_xlim()
        right = math.log(crossing.high or crossing.value)
        late = (right - math.log(low)) / (math.log(high) - math.log(low)) > 0.68
        edge = (crossing.low if late else crossing.high) or crossing.value
        axes.annotate(
            f"{name} = {count(crossing.value)}" + (f"\n{crossing.interval}" if crossing.interval else ""),
            (edge, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if late else 5, -3),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=STAR[0],
            fontweight="bold",
            gid="star-label",
        )


def spelled(mean: Mean | None) -> str:
    """A mean with its interval, or a dash for what was not measured."""
    return with_interval(mean.value, mean.low, mean.high) if mean else decimal(None)


def _tip(name: str, mean: Mean) -> str:
    value = spelled(mean)
    seeds = f", mean of {len(mean.points)} seeds" if len(mean.points) > 1 else ""
    levels = {"chance": mean.chance, "coincidence": mean.coincidence}
    told = "".join(f", {level} {decimal(value)}" for level, value in levels.items() if value is not None)
    return f"{name}, N = {count(mean.size)}: {value}{seeds}{told}"
