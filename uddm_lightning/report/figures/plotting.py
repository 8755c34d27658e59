"""Panels, axes, curves and legends that the figures share."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, Formatter, NullLocator
from typing_extensions import override

from uddm_lightning.report.estimates import Crossing
from uddm_lightning.report.figures.drawing import SIZE_COLOURS, SMALL, Drawing
from uddm_lightning.report.figures.line_labels import FittingText as FittingText
from uddm_lightning.report.figures.line_labels import label_ends as label_ends
from uddm_lightning.report.figures.line_labels import name_lines as name_lines
from uddm_lightning.report.figures.panel_figure import panels_of as panels_of
from uddm_lightning.report.formatting import count, decimal, with_interval
from uddm_lightning.results.parsed import Point
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Mean, Study

SIZE_STYLES: dict[str, Any] = {"n_mem": "--", "n_half": "-", "n_gen": ":"}
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


def panel_axis(axes: Axes, study: Study, labelled: bool = True) -> None:
    """Set the axis of sizes of a panel of a block; only the lowest panel of a column has labels."""
    size_axis(axes, study.sizes)
    if not labelled:
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)


def small_title(axes: Axes, title: str, words: str) -> None:
    """Write two lines above a small panel."""
    axes.set_title(f"{title}\n", fontsize=SMALL)
    axes.text(0.0, 1.04, words, transform=axes.transAxes, va="bottom", fontsize=SMALL)


def histogram_axis(axes: Axes, bins: Any, split: str, size: int, words: str) -> None:
    """Set the axes of a histogram, whose height has no scale, and write its split, its size and `words` above."""
    axes.set(yticks=[], xlim=(bins[0], bins[-1]))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    small_title(axes, f"{split}, N = {count(size)}", words)


class SizeFormatter(Formatter):
    """Labels of sizes on a log axis; of labels that would overlap, the first and the last one are kept.

    Args:
        panel: whose x axis has the labels.
    """

    def __init__(self, panel: Axes) -> None:
        self.panel = panel

    @override
    def format_ticks(self, values: list[float]) -> list[str]:
        """Return a label for each size, "" for those left out."""
        axes = self.panel
        low, high = (math.log(end) for end in axes.get_xlim())
        figure = axes.get_figure(root=True)
        assert figure is not None
        room = axes.get_window_extent().width / figure.dpi * 72
        ends = [
            ((math.log(size) - low) / (high - low) * room, 2.8 * len(count(size)) + 2.0) for size in values
        ]  # place and half the width of each label, in points
        labels, end = [], -math.inf
        for size, (place, half) in zip(values, ends, strict=True):
            is_last = (place, half) == ends[-1]
            is_free = place - half >= end and (is_last or place + half <= ends[-1][0] - ends[-1][1])
            labels.append(count(size) if is_free else "")
            end = place + half if is_free else end
        return labels

    @override
    def __call__(self, x: float, pos: int | None = None) -> str:
        return count(x)


def size_axis(axes: Axes, sizes: Sequence[int], label: str = "training rows N") -> None:
    """Set a log2 axis with the sizes as ticks.

    Args:
        axes: whose x axis to set.
        sizes: ascending.
        label: label of the axis.
    """
    axes.set_xscale("log", base=2)
    low, high = math.log2(min(sizes)), math.log2(max(sizes))
    pad = 0.07 * (high - low) if high > low else 1.0
    axes.set_xlim(2 ** (low - pad), 2 ** (high + pad))
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(SizeFormatter(axes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def curve(
    drawing: Drawing,
    axes: Axes,
    means: Sequence[Mean],
    name: str,
    colour: str,
    style: str,
    t: float | None = None,
    **line: Any,
) -> None:
    """Draw a curve of means with whiskers and markers with texts; several seeds are small points.

    Args:
        drawing: collects the texts at the markers.
        axes: where to draw.
        means: one for each size.
        name: text at the markers before the number.
        colour: of the curve.
        style: of the line.
        t: corruption time at which the curve is shown; None shows it always.
        line: other properties of the line.
    """
    if not means:
        return
    sizes, values = [mean.size for mean in means], [mean.value for mean in means]
    (drawn,) = axes.plot(sizes, values, style, color=colour, marker="o", **line)
    drawing.mark(drawn, [_tip(name, mean) for mean in means])
    drawing.at(t, drawn)
    known = [(mean.size, mean.low, mean.high) for mean in means if mean.low is not None and mean.high is not None]
    if known:
        at, lows, highs = map(list, zip(*known, strict=True))
        bars = axes.vlines(at, lows, highs, colors=colour, alpha=0.55, linewidth=1.6)
        drawing.at(t, bars)
    points = [point for mean in means for point in mean.points if len(mean.points) > 1]
    if points:
        where = [point.size for point in points], [point.value for point in points]
        (dots,) = axes.plot(*where, "o", markersize=2.2, markeredgewidth=0, color=colour, alpha=0.65)
        drawing.mark(dots, [f"{name}, N = {count(p.size)}, seed {p.seed}: {spelled(p)}" for p in points])
        drawing.at(t, dots)


def thin_line(
    axes: Axes, means: Sequence[Mean], colour: str, style: Any = "-", alpha: float | None = None
) -> list[Line2D]:
    """Draw means as a thin line without markers, one across the panel for one size; return it, if there is one."""
    if len(means) == 1:
        return [axes.axhline(means[0].value, linestyle=style, color=colour, alpha=alpha, linewidth=1.0)]
    sizes, values = [mean.size for mean in means], [mean.value for mean in means]
    return axes.plot(sizes, values, linestyle=style, color=colour, alpha=alpha, linewidth=1.0) if means else []


def level(axes: Axes, sizes: Sequence[int], means: Sequence[Mean], index: int, colour: str) -> list[Line2D]:
    """Draw the values of an oracle as a thin line, across all sizes if it was measured at a single one; return it.

    Args:
        axes: where to draw.
        sizes: of the models beside it.
        means: one for each size of the oracle.
        index: number of the oracle.
        colour: of the line.
    """
    if len(means) == 1:
        means = [replace(means[0], size=size) for size in (sizes[0], sizes[-1])]
    return thin_line(axes, means, colour, oracle_style(index))


def draw_crossing(axes: Axes, crossing: Crossing | None, name: str, label: bool = True, line: int = 0) -> None:
    """Mark a transition size by a line, its interval by a shaded span, and label both.

    Args:
        axes: where to draw; its x axis shows sizes.
        crossing: the size to mark; None marks nothing.
        name: a key of `SIZES`.
        label: whether to say it.
        line: number of labels above this one.
    """
    if crossing is None:
        return
    colour = SIZE_COLOURS[name][0]
    if crossing.low is not None and crossing.high is not None:
        axes.axvspan(crossing.low, crossing.high, color=colour, alpha=0.12, linewidth=0, gid=f"{name}-span")
    axes.axvline(crossing.value, color=colour, linestyle=SIZE_STYLES[name], linewidth=1.5, gid=f"{name}-line")
    low, high = axes.get_xlim()
    if label and low <= crossing.value <= high:
        late = math.log(crossing.value / low) / math.log(high / low) > 0.55
        interval = f"\n{crossing.interval}" if crossing.low != crossing.high else ""
        axes.annotate(
            f"{SIZES[name]} = {count(crossing.value)}{interval}",
            (crossing.value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if late else 5, -3 - 24 * line),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=colour,
            fontsize=SMALL,
            gid=f"{name}-label",
        ).set_in_layout(False)


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
