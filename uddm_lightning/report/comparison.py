"""The figures that set estimates side by side: of several models, and of several methods."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from uddm_lightning.report.curves import colour_of
from uddm_lightning.report.drawing import (
    FAINT,
    SPLIT_STYLES,
    TEXT,
    WIDTH,
    Drawing,
    Table,
    category,
    curve,
    new_figure,
    size_axis,
    spelled,
)
from uddm_lightning.report.study import Mean, Study
from uddm_lightning.report.verdict import METHODS, Estimate, Verdict
from uddm_lightning.report.words import count, decimal, visible


def models_drawing(study: Study, verdict: Verdict) -> Drawing:
    """Recovery of all backbones at the reference t, their N* with intervals above, their entropy gaps below."""
    t = study.reference
    entropy_times = study.times("entropy")
    at = min(entropy_times, key=lambda other: abs(other - (t or 0.0))) if entropy_times else None
    gaps = {name: study.differences("entropy", name, ("samples", "train"), at) for name in study.backbones}
    estimates = {name: verdict.at(name, "recovery", t) for name in study.backbones}
    heights = [0.3 + 0.22 * len(study.backbones), 3.2, *([1.5] if any(gaps.values()) else [])]
    figure = new_figure(WIDTH, 0.9 * sum(heights) + 1.2)
    panels: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    stars, recovery = panels[:2]
    drawing = Drawing(
        "models",
        "The models side by side",
        figure,
        f"Recovery at t = {t:g} on train rows (solid) and test rows (dashed), above it N* of each model with its 95 % "
        "interval"
        + (
            ", below it the entropy gap with its 95 % interval: mean entropy on the model's own samples minus that on "
            "its train rows."
            if any(gaps.values())
            else "."
        ),
        _models_table(study, estimates, gaps),
    )
    for index, backbone in enumerate(study.backbones):
        colour = category(index)
        _whisker(drawing, stars, estimates[backbone], -index, colour, visible(backbone))
        for split in ("train", "test"):
            name = f"{visible(backbone)}, {split}"
            curve(drawing, recovery, study.means("recovery", backbone, split, t), name, colour, SPLIT_STYLES[split])
        if gaps[backbone]:
            curve(drawing, panels[2], gaps[backbone], f"{visible(backbone)}, entropy gap [nats]", colour, "-")
    stars.set(ylim=(-len(study.backbones) + 0.4, 0.6), yticks=[], ylabel="N*")
    stars.grid(axis="y", visible=False)
    recovery.set(ylim=(-0.02, 1.04), ylabel=f"recovery, t = {t:g}")
    if len(panels) > 2:
        panels[2].axhline(0.0, color=FAINT[0], linewidth=0.8)
        panels[2].set_ylabel("entropy gap [nats]")
    for axes in panels:
        size_axis(axes, study.sizes)
        if axes is not panels[-1]:
            axes.set_xlabel("")
    handles = [
        Line2D(
            [], [], color=category(i), linewidth=2.4, label=f"{visible(name)}, {study.parameters[name]:,} parameters"
        )
        for i, name in enumerate(study.backbones)
    ]
    handles += [
        Line2D([], [], color=TEXT[0], linestyle=SPLIT_STYLES[split], linewidth=1.4, label=split)
        for split in ("train", "test")
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return drawing


def agreement_drawing(study: Study, verdict: Verdict) -> Drawing | None:
    """N* by every method and t with intervals, on the axis of sizes; what is null is listed with its reason."""
    lines = [(backbone, estimate) for backbone in study.backbones for estimate in verdict.estimates(backbone)]
    if not lines:
        return None
    several = len(study.backbones) > 1
    figure = new_figure(WIDTH, 0.8 + 0.215 * (len(lines) + several * len(study.backbones)))
    axes = figure.subplots()
    drawing = Drawing(
        "agreement",
        "N* by each method",
        figure,
        "Each dot is an estimate of the size at which the model stops memorizing, each bar its 95 % interval. "
        "Methods that see different data should meet.",
        _agreement_table(lines),
        remarks=_missing(lines, several),
    )
    ticks: list[tuple[float, str]] = []
    y, last = 0.0, None
    for backbone, estimate in lines:
        if several and backbone != last:
            ticks.append((y, visible(backbone)))
            y -= 1.0
        last = backbone
        ticks.append((y, f"{estimate.name}  "))
        colour = TEXT[0] if estimate.t is None else colour_of(study, estimate.t)
        _whisker(drawing, axes, estimate, y, colour, estimate.name)
        if estimate.size is None:
            axes.annotate("none", (0.0, y), xycoords=("axes fraction", "data"), xytext=(4, 0), **_SMALL)
        y -= 1.0
    size_axis(axes, study.sizes, label="N* in training rows", room=208)
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    axes.set_ylim(y + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    for tick, (_, label) in zip(axes.get_yticklabels(), ticks, strict=True):
        tick.set_fontweight("normal" if label.endswith("  ") else "bold")
    return drawing


_SMALL: dict[str, Any] = {
    "textcoords": "offset points",
    "va": "center",
    "fontsize": 8.5,
    "color": TEXT[0],
    "style": "italic",
}


def _missing(lines: list[tuple[str, Estimate]], several: bool) -> list[str]:
    """What is null, and why."""
    return [
        (f"{backbone}, " if several else "") + f"{estimate.name}: none" + (f", {estimate.why}" if estimate.why else "")
        for backbone, estimate in lines
        if estimate.size is None
    ]


def _whisker(drawing: Drawing, axes: Axes, estimate: Estimate | None, y: float, colour: str, name: str) -> None:
    if estimate is None or estimate.size is None:
        return
    if estimate.low is not None and estimate.high is not None:
        ends = [estimate.low, estimate.high]
        axes.plot(ends, [y, y], "-", color=colour, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
        axes.plot(ends, [y, y], "|", color=colour, markersize=7, markeredgewidth=1.2)
    (dot,) = axes.plot([estimate.size], [y], "o", color=colour, markersize=6)
    interval = f" ({estimate.interval})" if estimate.interval else ""
    drawing.mark(dot, [f"{name}: N* = {count(estimate.size)}{interval}"])


def _models_table(study: Study, estimates: dict[str, Estimate | None], gaps: dict[str, list[Mean]]) -> Table:
    rows = []
    for backbone in study.backbones:
        estimate = estimates[backbone]
        star = count(estimate.size) if estimate and estimate.size else decimal(None)
        interval = estimate.interval if estimate else ""
        for size in study.sizes:
            means = [study.mean("recovery", backbone, split, size, study.reference) for split in ("train", "test")]
            cells = [decimal(mean.value if mean else None) for mean in means]
            cells.append(spelled(next((gap for gap in gaps[backbone] if gap.size == size), None)))
            rows.append([visible(backbone), f"{star} {f'({interval})' if interval else ''}", count(size), *cells])
    return Table(["model", "N*", "N", "train recovery", "test recovery", "entropy gap [nats]"], rows)


def _agreement_table(lines: list[tuple[str, Estimate]]) -> Table:
    rows = []
    for backbone, estimate in lines:
        sizes = [estimate.size, estimate.onset, estimate.convergence]
        star, onset, convergence = (decimal(None) if size is None else count(size) for size in sizes)
        t = decimal(None) if estimate.t is None else f"{estimate.t:g}"
        method = METHODS.get(estimate.method, estimate.method)
        cells = [star, estimate.interval or decimal(None), onset, convergence, visible(estimate.why)]
        rows.append([visible(backbone), method, t, *cells])
    return Table(
        ["model", "method", "t", "N*", "95 % interval", "onset", "convergence", "why a number is missing"], rows
    )
