"""Figures of single rows: critical corruption, and margins of tokens."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from uddm_lightning.report.figures.drawing import (
    FAINT,
    LOST,
    RECOVERED,
    TEXT,
    Drawing,
    Table,
    category,
)
from uddm_lightning.report.figures.panel_figure import small_panels
from uddm_lightning.report.figures.plotting import (
    SPLIT_NAMES,
    SPLIT_STYLES,
    curve,
    histogram_axis,
    legend_line,
    size_axis,
    small_title,
    spelled,
    thin_line,
)
from uddm_lightning.report.formatting import count, decimal, visible
from uddm_lightning.results.study import Mean, Study
from uddm_lightning.results.tables import Record

SPLITS = ("train", "test", "random")
_EDGE = 20.0  # nats; larger values are counted in the outermost bins
_COLOURS = {"train": RECOVERED[0], "test": LOST[0], "random": FAINT[0]}


class Curve(NamedTuple):
    """A line of the panel below the histograms."""

    name: str
    colour: str
    style: Any
    means: list[Mean]


def basins_drawing(study: Study, rows: list[Record], sizes: list[int], backbone: str) -> Drawing:
    """Draw the share of chains that return to single rows against t, at up to three sizes, and mean t_c against N."""
    splits = [split for split in SPLITS if any(_of(rows, split, size) for size in sizes)]
    figure, panels = small_panels(splits, sizes, 1.3, "corruption time t", "P(return)", below=2.2)
    below = figure.panels[-1]
    table = []
    for (split, size), axes in panels.items():
        mine = _of(rows, split, size)
        found = [row["critical_t"] for row in mine if row["critical_t"] is not None]
        nothing = _mean([row["critical_t_identity"] for row in mine if row["critical_t_identity"] is not None])
        _probabilities(axes, mine, split, nothing)
        small_title(axes, f"{split}, N = {count(size)}", f"t_c {decimal(_mean(found))}, {len(found)} rows")
        never, always = found.count(0.0), found.count(1.0)
        table.append(
            [split, count(size), str(len(found)), *_centre(found), decimal(nothing, 4), str(never), str(always)]
        )
    curves = [
        Curve(_named(study, name, split), _colour(study, index, split), SPLIT_STYLES[split], means)
        for index, name in enumerate(study.backbones)
        for split in SPLITS
        if (means := study.column("critical_t", "basin", name, split))
    ]
    head = ["split", "N", "draws", "mean t_c", "median t_c", "a chain that does nothing"]
    drawing = Drawing(
        "basins",
        "From how much corruption a row is restored",
        figure,
        "A chain has returned if it restores the row up to the stated share of wrong tokens, by default none. Several "
        "chains start from each t; noise that leads no further away than that is left out. Above: the share that "
        f"returned, for single rows of {visible(backbone)} (thin) and their mean (dots). The critical corruption t_c "
        "of a row is the t at which its probability of returning, made to fall with t, falls below 1/2; 0 where it is "
        "below 1/2 from the smallest t on. Vertical line: the level of a chain that does nothing, the t at which noise "
        "leads away from the row with probability 1/2. Below: the mean of t_c over rows, with 95 % intervals, and the "
        "level of a chain that does nothing (grey).",
        Table([*head, "below 1/2 from the smallest t on", "at least 1/2 from t = 1"], table),
        remarks=list(_beyond_nothing(study)),
    )
    _against_size(drawing, study, below, curves, "mean t_c")
    levels = (study.column("critical_t_identity", "basin", backbone, split) for split in SPLITS)
    level = next(filter(None, levels), [])
    thin_line(below, level, FAINT[0])
    below.set_yscale("symlog", linthresh=0.01)
    below.set_ylim(-0.003, 1.2)
    below.set_yticks([0.0, 0.01, 0.03, 0.1, 0.3, 1.0], ["0", "0.01", "0.03", "0.1", "0.3", "1"])
    below.set_yticks([], minor=True)
    drawing.table.rows += _means_rows(study, "basin", "critical_t", len(drawing.table.head))
    return drawing


def _probabilities(axes: Axes, rows: list[Record], split: str, nothing: float | None) -> None:
    """Draw the share of chains that returned against t, for each row and as a mean."""
    returned: dict[float, list[float]] = {}
    for row in rows:
        known = [(t, back / led) for t, led, back in zip(row["times"], row["led"], row["returned"], strict=True) if led]
        if known:
            axes.plot(*zip(*known, strict=True), "-", color=_COLOURS[split], alpha=0.25, linewidth=0.6)
        for t, share in known:
            returned.setdefault(t, []).append(share)
    means = [(t, fmean(shares)) for t, shares in sorted(returned.items())]
    if means:
        axes.plot(*zip(*means, strict=True), "o-", color=_COLOURS[split], markersize=2.5, linewidth=1.6)
    axes.axhline(0.5, color=FAINT[0], linewidth=0.8)
    if nothing:
        axes.axvline(nothing, color=FAINT[0], linewidth=1.2, gid="nothing")
    axes.set(xscale="log", xlim=(0.01, 1.1), ylim=(-0.05, 1.05), yticks=[0.0, 0.5, 1.0])
    axes.set_xticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
    axes.set_xticks([], minor=True)


def _beyond_nothing(study: Study) -> Iterator[str]:
    """Return how t_c at the largest size compares with the level of a chain that does nothing."""
    for backbone, split in product(study.backbones, SPLITS[:2]):
        mean = next(reversed(study.column("critical_t", "basin", backbone, split)), None)
        nothing = mean.number("critical_t_identity") if mean else None
        if mean is None or nothing is None or mean.low is None or mean.high is None:
            continue
        where = "lies above" if mean.low > nothing else "lies below" if mean.high < nothing else "includes"
        whose = f"{visible(backbone)}, " if len(study.backbones) > 1 else ""
        yield (
            f"{whose}{split} rows at N = {count(mean.size)}: the interval of the mean t_c, {spelled(mean)}, {where} "
            f"the level of a chain that does nothing, {decimal(nothing, 4)}."
        )


def margins_drawing(study: Study, rows: list[Record], sizes: list[int], backbone: str) -> Drawing:
    """Draw margins of the tokens of clean rows at up to three sizes, and the shares of fixed tokens against N."""
    groups = {(split, size): _margins(_of(rows, split, size)) for split in SPLITS[:2] for size in sizes}
    splits = [split for split in SPLITS[:2] if any(groups[split, size] for size in sizes)]
    edge = min(_EDGE, max((abs(value) for values in groups.values() for value in values), default=1.0) + 0.5)
    bins = np.linspace(-edge, edge, 41)
    figure, panels = small_panels(splits, sizes, 1.3, "margin [nats]", below=2.2)
    below = figure.panels[-1]
    table = []
    for (split, size), axes in panels.items():
        found = groups[split, size]
        share = _mean([float(value > 0.0) for value in found])
        _histogram(axes, np.clip(found, -edge, edge), bins, split, size, f"{decimal(share, 2)} above 0")
        axes.axvline(0.0, color=TEXT[0], linewidth=0.9)
        table.append([split, count(size), str(len(found)), *_centre(found), decimal(share)])
    curves = [
        Curve(f"{_named(study, name, split)}, {what}", _colour(study, index, split), style, means)
        for index, name in enumerate(study.backbones)
        for split in SPLITS[:2]
        for column, what, style in (("fixed_tokens", "tokens", "-"), ("fixed_rows", "whole rows", "--"))
        if (means := study.column(column, "recovery", name, split, study.reference))
    ]
    drawing = Drawing(
        "margins",
        "Margins and fixed tokens",
        figure,
        "The margin of a token is the log-probability of its own id minus that of the likeliest other id. The model "
        "sees the row without noise and must not read the token itself. A token is fixed if its margin is above 0; a "
        f"row is a fixed point if all its tokens are fixed. Above: tokens of {visible(backbone)}, each row once; "
        f"the outermost bins hold all values beyond {edge:.0f} nats. Below: the share of fixed tokens (solid) and of "
        "fixed rows (dashed).",
        Table(["split", "N", "tokens", "mean", "median", "above 0"], table),
    )
    _against_size(drawing, study, below, curves, "fixed share", top=1.04)
    for column in ("fixed_tokens", "fixed_rows"):
        drawing.table.rows += _means_rows(study, "recovery", column, len(drawing.table.head))
    return drawing


def _histogram(axes: Axes, values: Iterable[float], bins: Any, split: str, size: int, words: str) -> None:
    if found := list(values):
        weights = [1 / len(found)] * len(found)
        common: dict[str, Any] = {"bins": list(bins), "weights": weights, "color": _COLOURS[split]}
        axes.hist(found, histtype="stepfilled", alpha=0.3, **common)
        axes.hist(found, histtype="step", linewidth=1.2, **common)
    histogram_axis(axes, bins, split, size, words)


def _against_size(
    drawing: Drawing, study: Study, axes: Axes, curves: Sequence[Curve], label: str, top: float | None = None
) -> None:
    for one in curves:
        curve(drawing, axes, one.means, one.name, one.colour, one.style)
    size_axis(axes, study.sizes)
    axes.set_ylim(-0.02, top)
    axes.set_ylabel(label)
    handles = [legend_line(one.name, one.colour, one.style, 1.6) for one in curves]
    if handles:
        drawing.legend(handles)


def _means_rows(study: Study, kind: str, column: str, width: int) -> list[list[str]]:
    """Return lines of a table: the mean of every backbone, split and size."""
    t = study.reference if kind == "recovery" else None
    rows = []
    for backbone, split in product(study.backbones, SPLITS):
        for mean in study.column(column, kind, backbone, split, t):
            name = f"{visible(backbone)}, {split}, mean {column.replace('_', ' ')}"
            row = mean.points[0].row
            rows.append([name, count(mean.size), row.get("n_draws") or "", spelled(mean)])
    return [[*row, *[""] * (width - len(row))] for row in rows]


def _of(rows: list[Record], split: str, size: int) -> list[Record]:
    return [row for row in rows if row["split"] == split and row["train_size"] == size]


def _margins(rows: list[Record]) -> list[float]:
    """Return the margins of all tokens; a row that was drawn more than once counts once."""
    once = {row["row_id"]: row["margin"] for row in rows}
    return [value for margins in once.values() for value in margins if not math.isnan(value)]


def _named(study: Study, backbone: str, split: str) -> str:
    return f"{visible(backbone)}, {SPLIT_NAMES[split]}" if len(study.backbones) > 1 else SPLIT_NAMES[split]


def _colour(study: Study, index: int, split: str) -> str:
    return category(index) if len(study.backbones) > 1 else _COLOURS[split]


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def _centre(values: list[float]) -> list[str]:
    """Return the mean and the median."""
    return [decimal(fmean(values)), decimal(median(values))] if values else [decimal(None)] * 2
