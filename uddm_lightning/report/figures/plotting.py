"""Panels, axes, curves and legends that the figures share."""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from uddm_lightning.report.estimates import Crossing
from uddm_lightning.report.figures.drawing import STAR, WIDTH, Drawing, new_figure
from uddm_lightning.report.formatting import count, decimal, visible, with_interval
from uddm_lightning.results.parsed import Point
from uddm_lightning.results.study import Mean, Study

WIDE = 0.5  # share of the range of a curve above which an interval is not drawn
LineStyle = Literal["-", "--", ":", "-."]
ORACLE_STYLES = ((0, (6, 1.5, 1, 1.5)), (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 3)), (0, (8, 2)))
SPLIT_STYLES: dict[str, LineStyle] = {"train": "-", "test": "--", "samples": ":", "random": "-."}
SPLIT_NAMES = {"train": "train", "test": "test", "samples": "own samples", "random": "random tokens"}


def oracle_style(index: int) -> Any:
    """Return the line style of the oracle with this number."""
    return ORACLE_STYLES[index % len(ORACLE_STYLES)]


def legend_line(
    label: str, colour: str, style: Any = "-", width: float | None = None, marker: str | None = None
) -> Line2D:
    """Return the entry of a legend for a line."""
    return Line2D([], [], color=colour, linestyle=style, linewidth=width, marker=marker, label=label)


def panels_of(study: Study, heights: Sequence[float], height: float) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with rows of panels that share their axes, one column for each backbone.

    Args:
        study: the measurements; names and parameters of its backbones are the titles.
        heights: relative height of each row of panels.
        height: of the figure, in inches.
    """
    columns = max(len(study.backbones), 1)
    figure = new_figure(WIDTH if columns == 1 else 3.6 * columns + 0.8, height)
    grid = figure.subplots(len(heights), columns, sharex=True, sharey="row", squeeze=False, height_ratios=list(heights))
    for axes, backbone in zip(grid[0], study.backbones, strict=False):
        axes.set_title(visible(backbone) + f", {study.parameters[backbone]:,} parameters")
    return figure, [list(row) for row in grid]


def panel_axis(axes: Axes, study: Study, labelled: bool = True) -> None:
    """Set the axis of sizes of a panel of `panels_of`; only the lowest panel of a column has labels."""
    size_axis(axes, study.sizes, room=300 if len(study.backbones) == 1 else 220)
    if not labelled:
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)


def small_title(axes: Axes, title: str, words: str) -> None:
    """Write two lines above a small panel."""
    axes.set_title(f"{title}\n", fontsize=8.5, fontweight="bold")
    axes.text(0.0, 1.04, words, transform=axes.transAxes, va="bottom", fontsize=7.5)


def histogram_axis(axes: Axes, bins: Any, split: str, size: int, words: str) -> None:
    """Set the axes of a histogram, whose height has no scale, and write its split, its size and `words` above."""
    axes.set(yticks=[], xlim=(bins[0], bins[-1]))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    small_title(axes, f"{split}, N = {count(size)}", words)


def size_axis(axes: Axes, sizes: Sequence[int], label: str = "training rows N", room: int = 300) -> None:
    """Set a log2 axis with the sizes as ticks; labels that would overlap are left out.

    Args:
        axes: whose x axis to set.
        sizes: ascending.
        label: label of the axis.
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
    """Draw a curve of means with its band and markers with texts; several seeds are small points.

    Args:
        drawing: collects the texts at the markers.
        axes: where to draw.
        means: one for each size.
        name: text at the markers before the number.
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
        drawing.mark(dots, [f"{name}, N = {count(p.size)}, seed {p.seed}: {spelled(p)}" for p in points])


def thin_line(axes: Axes, means: Sequence[Mean], colour: str, style: Any = "-", alpha: float | None = None) -> None:
    """Draw means as a thin line without markers."""
    sizes, values = [mean.size for mean in means], [mean.value for mean in means]
    axes.plot(sizes, values, linestyle=style, color=colour, alpha=alpha, linewidth=1.0)


def level(axes: Axes, sizes: Sequence[int], means: Sequence[Mean], index: int, colour: str) -> None:
    """Draw the values of an oracle as a thin line, across all sizes if it was measured at a single one.

    Args:
        axes: where to draw.
        sizes: of the models beside it.
        means: one for each size of the oracle.
        index: number of the oracle.
        colour: of the line.
    """
    if len(means) == 1:
        means = [replace(means[0], size=size) for size in (sizes[0], sizes[-1])]
    thin_line(axes, means, colour, oracle_style(index))


def _band(axes: Axes, intervals: Sequence[tuple[int, float, float]], colour: str) -> None:
    """Draw intervals as a band; a very wide interval, as with two rows, is a thin line."""
    if not intervals:
        return
    span = max(high for _, _, high in intervals) - min(low for _, low, _ in intervals)
    usual = median(high - low for _, low, high in intervals)
    narrow = [one for one in intervals if one[2] - one[1] <= max(WIDE * span, 3 * usual)]
    sizes, lows, highs = ([one[place] for one in narrow] for place in range(3))
    axes.fill_between(sizes, lows, highs, color=colour, alpha=0.11, linewidth=0)
    for size, low, high in intervals:
        if (size, low, high) not in narrow:
            axes.plot([size, size], [low, high], color=colour, alpha=0.35, linewidth=0.8)


def draw_crossing(axes: Axes, crossing: Crossing | None, name: str, label: bool = True, style: str = "-") -> None:
    """Mark a transition size by a line, its interval by a shaded span, and label both.

    Args:
        axes: where to draw; its x axis shows sizes.
        crossing: the size to mark; None marks nothing.
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


def spelled(mean: Mean | Point | None) -> str:
    """Return a mean or a point with its interval, or a dash for None."""
    return with_interval(mean.value, mean.low, mean.high) if mean else decimal(None)


def by_size(means: Sequence[Mean]) -> dict[int, Mean]:
    """Return means by their size."""
    return {mean.size: mean for mean in means}


def _tip(name: str, mean: Mean) -> str:
    seeds = f", mean of {len(mean.points)} seeds" if len(mean.points) > 1 else ""
    levels = {name: mean.number(name) for name in ("chance", "coincidence")}
    suffix = "".join(f", {level} {decimal(value)}" for level, value in levels.items() if value is not None)
    return f"{name}, N = {count(mean.size)}: {spelled(mean)}{seeds}{suffix}"
