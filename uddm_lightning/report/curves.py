"""The figures over N: recovery under the NELBO, and entropy."""

import math
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from uddm_lightning.report import words
from uddm_lightning.report.drawing import (
    FAINT,
    ORACLE_STYLES,
    SPLIT_NAMES,
    SPLIT_STYLES,
    TEXT,
    WIDTH,
    Drawing,
    Table,
    curve,
    level,
    new_figure,
    ramp,
    size_axis,
    spelled,
    star,
)
from uddm_lightning.report.study import Mean, Study
from uddm_lightning.report.verdict import Verdict
from uddm_lightning.report.words import count, decimal, listed, visible

_ACROSS = 5  # entries of a legend side by side; oracles have longer names


def recovery_drawing(study: Study, verdict: Verdict) -> Drawing:
    """Recovery against N, one colour for each t, with the NELBO above on the same axis and N* marked."""
    times, ranges = study.times("recovery"), study.ranges()
    figure, panels = _panels(study, (1.0, 2.5) if ranges else (1.0,), 2.0 if ranges else 0.0)
    drawing = Drawing(
        "recovery",
        "Recovery against the number of training rows",
        figure,
        "The share of corrupted tokens that the reverse chain puts back, on rows the model was trained on (solid) and "
        "on rows it never saw (dashed). Bands are 95 % intervals"
        + (
            ", for several seeds from the lowest end to the highest; small points are the seeds. "
            if _many(study)
            else ". "
        )
        + "The dotted lines are chance: what token frequencies alone would restore. "
        + _oracles(study)
        + (f"Above: the NELBO in nats per token, on t in {listed(ranges)}. " if ranges else "")
        + "The green line is N*, the shaded span its 95 % interval.",
        _recovery_table(study, times),
        remarks=[line for name in study.backbones if (line := _random(study, name))],
    )
    for column, backbone in enumerate(study.backbones):
        axes = panels[-1][column]
        for t in times:
            colour, weight = colour_of(study, t), 2.2 if t == study.reference else 1.4
            for split in ("train", "test"):
                means = study.means("recovery", backbone, split, t)
                curve(drawing, axes, means, f"{split}, t = {t:g}", colour, SPLIT_STYLES[split], linewidth=weight)
            chances = [m for m in study.means("recovery", backbone, "test", t) if m.chance is not None]
            at = [m.size for m in chances], [m.chance or 0.0 for m in chances]
            axes.plot(*at, ":", color=colour, alpha=0.55, linewidth=1.0)
            for index, oracle in enumerate(study.oracles):
                level(axes, study.sizes, study.means("recovery", oracle, "test", t), index, colour)
        size_axis(axes, study.sizes, room=_room(study))
        axes.set_ylim(-0.02, 1.04)
        estimate = verdict.at(backbone, "recovery", study.reference)
        star(axes, estimate)
        if len(panels) > 1:
            _nelbo(drawing, study, panels[0][column], backbone)
            star(panels[0][column], estimate, label=False)
    panels[-1][0].set_ylabel("token recovery")
    if len(panels) > 1:
        panels[0][0].set_ylabel("\n".join(["NELBO", *(f"t in {name}" for name in ranges)]))
    _legend(study, figure, times, ["train", "test"], chance=True)
    return drawing


def entropy_drawing(study: Study, verdict: Verdict) -> Drawing:
    """Entropy against N on train rows, test rows and own samples, with the N* that entropy alone gives."""
    times = study.times("entropy")
    splits = [s for s in SPLIT_NAMES if any(study.points("entropy", b, s, t) for b in study.backbones for t in times)]
    figure, panels = _panels(study, (1.0,), 0.0)
    drawing = Drawing(
        "entropy",
        "Entropy against the number of training rows",
        figure,
        "The model's doubt about a token it may not look at, in nats: on train rows (solid), test rows (dashed)"
        + (" and its own samples (dotted)" if "samples" in splits else "")
        + ". It vanishes on memorized rows. Bands are 95 % intervals. "
        + _oracles(study)
        + "The green line is N* by entropy on train rows, which needs no test rows.",
        _entropy_table(study, times, splits),
    )
    for column, backbone in enumerate(study.backbones):
        axes = panels[0][column]
        for t in times:
            colour, weight = colour_of(study, t), 2.2 if t == study.reference else 1.4
            for split in splits:
                means = study.means("entropy", backbone, split, t)
                name = f"{SPLIT_NAMES[split]}, t = {t:g}"
                curve(drawing, axes, means, name, colour, SPLIT_STYLES[split], linewidth=weight)
            for index, oracle in enumerate(study.oracles):
                level(axes, study.sizes, study.means("entropy", oracle, "test", t), index, colour)
        size_axis(axes, study.sizes, room=_room(study))
        low, high = axes.get_ylim()
        axes.set_ylim(-0.03 * high, high + 0.13 * (high - low))
        star(axes, verdict.at(backbone, "entropy", study.reference))
    panels[0][0].set_ylabel("conditional entropy [nats]")
    _legend(study, figure, times, splits, chance=False)
    return drawing


def _oracles(study: Study) -> str:
    """What the lines of the oracles mean."""
    named = listed([words.oracle(name) for name in study.oracles])
    return f"Dash-dotted, on test rows: {named}, computed exactly. " if named else ""


def _panels(study: Study, heights: Sequence[float], extra: float) -> tuple[Figure, list[list[Axes]]]:
    """Rows of panels, one column for each backbone, that share their axes."""
    columns = max(len(study.backbones), 1)
    width = WIDTH if columns == 1 else 3.6 * columns + 0.8
    figure = new_figure(width, 4.0 + extra * 0.7)
    grid = figure.subplots(len(heights), columns, sharex=True, sharey="row", squeeze=False, height_ratios=list(heights))
    panels: list[list[Axes]] = [list(row) for row in grid]
    for column, backbone in enumerate(study.backbones):
        panels[0][column].set_title(visible(backbone) + f", {study.parameters[backbone]:,} parameters")
    return figure, panels


def _nelbo(drawing: Drawing, study: Study, axes: Axes, backbone: str) -> None:
    for split in ("train", "test"):
        means = study.means("nelbo", backbone, split)
        curve(drawing, axes, means, f"NELBO, {split}", TEXT[0], SPLIT_STYLES[split], linewidth=1.3, markersize=3.5)
    for index, oracle in enumerate(study.oracles):
        level(axes, study.sizes, study.means("nelbo", oracle, "test"), index, TEXT[0])
    axes.set_xlabel("")
    axes.tick_params(labelbottom=False)
    axes.set_ylim(bottom=0.0)


def colour_of(study: Study, t: float) -> str:
    """The colour of a corruption time, the same in every figure."""
    times = sorted({*study.times("recovery"), *study.times("entropy")})
    return ramp(times.index(t), len(times))[0]


def _legend(study: Study, figure: Figure, times: list[float], splits: list[str], chance: bool) -> None:
    """One legend under all panels: colours for t, line styles for splits."""
    colours = [
        Line2D([], [], color=colour_of(study, t), linewidth=3.4 if t == study.reference else 2.2, label=f"t = {t:g}")
        for t in times
    ]
    grey: dict[str, Any] = {"color": TEXT[0], "linewidth": 1.4}
    styles = [Line2D([], [], linestyle=SPLIT_STYLES[s], label=SPLIT_NAMES[s], **grey) for s in splits]
    for index, oracle in enumerate(study.oracles):
        dashes = ORACLE_STYLES[index % len(ORACLE_STYLES)]
        styles.append(Line2D([], [], linestyle=dashes, color=FAINT[0], linewidth=1.2, label=words.oracle(oracle)))
    if chance:
        styles.append(Line2D([], [], linestyle=":", color=FAINT[0], linewidth=1.2, label="chance"))
    across = _ACROSS - bool(study.oracles)
    rows = [*_cut(colours, across), *_cut(styles, across)]
    blank = Line2D([], [], linestyle="none", label=" ")
    columns = zip_longest(*rows, fillvalue=blank)  # a legend is filled column by column
    figure.legend(
        handles=list(chain.from_iterable(columns)),
        loc="outside lower center",
        ncols=max(map(len, rows)),
        handlelength=2.2,
        columnspacing=1.4,
    )


def _cut(handles: list[Line2D], across: int) -> list[list[Line2D]]:
    """Lines of the legend."""
    return [handles[start : start + across] for start in range(0, len(handles), across)]


def _recovery_table(study: Study, times: list[float]) -> Table:
    rows, splits = [], ("train", "test", "random")
    for backbone in [*study.backbones, *study.oracles]:
        for kind, t in [*(("recovery", t) for t in times), ("nelbo", None)]:
            gaps = {gap.size: gap for gap in study.differences(kind, backbone, ("train", "test"), t)}
            for size in study.sizes:
                train, test, random = (study.mean(kind, backbone, split, size, t) for split in splits)
                if train or test:
                    cells = [spelled(mean) for mean in (train, test, gaps.get(size), random)]
                    chance = test.chance if test else train.chance if train else None
                    name, last = ("NELBO [nats]", "") if t is None else (f"{t:g}", decimal(chance))
                    rows.append([visible(backbone), name, count(size), *cells, last])
                    if t is None:
                        bits = [_in_bits(mean) for mean in (train, test, gaps.get(size), random)]
                        rows.append([visible(backbone), "bits per token", count(size), *map(spelled, bits), ""])
    return Table(["model", "t", "N", "train", "test", "train \N{MINUS SIGN} test", "random tokens", "chance"], rows)


def _random(study: Study, backbone: str) -> str:
    """What comes back of rows of random tokens at the reference t, from the smallest size to the largest."""
    means = study.means("recovery", backbone, "random", study.reference)
    whose = f" by {visible(backbone)}" if len(study.backbones) > 1 else ""
    sizes = " to ".join(count(mean.size) for mean in (means[0], means[-1])) if len(means) > 1 else ""
    values = " to ".join(decimal(edge(mean.value for mean in means)) for edge in (min, max)) if means else ""
    told = (
        f"Rows of uniform random tokens, which nobody has stored, at t = {study.reference:g}: {values} of the corrupted"
    )
    return f"{told} tokens come back{whose}" + (f" at N = {sizes}." if sizes else ".") if means else ""


def _in_bits(mean: Mean | None) -> Mean | None:
    """A bound in nats as bits per token."""
    if mean is None:
        return None
    low, high = (end if end is None else end / math.log(2) for end in (mean.low, mean.high))
    return Mean(mean.size, mean.value / math.log(2), low, high, ())


def _entropy_table(study: Study, times: list[float], splits: list[str]) -> Table:
    rows = []
    for backbone in [*study.backbones, *study.oracles]:
        for t in times:
            for size in study.sizes:
                means = [study.mean("entropy", backbone, split, size, t) for split in splits]
                if any(means):
                    cells = [spelled(mean) for mean in means]
                    rows.append([visible(backbone), f"{t:g}", count(size), *cells])
    return Table(["model", "t", "N", *(SPLIT_NAMES[split] for split in splits)], rows)


def _many(study: Study) -> bool:
    return len(study.seeds) > 1


def _room(study: Study) -> int:
    """Points along the axis of sizes."""
    return 300 if len(study.backbones) == 1 else 220
