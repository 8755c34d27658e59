"""Figures that compare estimates of several models and of several methods."""

from typing import Any

from matplotlib.axes import Axes

from uddm_lightning.report.estimates import MEANINGS, Crossing, Estimate, Estimates
from uddm_lightning.report.figures.curves import colour_of
from uddm_lightning.report.figures.drawing import FAINT, SMALL, TEXT, WIDTH, Drawing, Table, category, new_figure
from uddm_lightning.report.figures.plotting import SPLIT_STYLES, by_size, curve, legend_line, size_axis, spelled
from uddm_lightning.report.formatting import count, decimal, listed, time, visible
from uddm_lightning.results.reference import METHODS, SIZES
from uddm_lightning.results.study import Mean, Study
from uddm_lightning.transition.methods import DIFFER, UNDEFINED


def models_drawing(study: Study, verdict: Estimates) -> Drawing:
    """Draw recovery of all backbones at the reference t, with N_half above and entropy gaps below."""
    t = study.reference
    entropy_times = study.times("entropy")
    at = min(entropy_times, key=lambda other: abs(other - (t or 0.0))) if entropy_times else None
    gaps = {name: study.entropy_gaps(name, at) for name in study.backbones}
    halves = {name: verdict.half(name, "recovery", t) for name in study.backbones}
    heights = [0.3 + 0.22 * len(study.backbones), 3.2, *([1.5] if any(gaps.values()) else [])]
    figure = new_figure(WIDTH, 0.9 * sum(heights) + 1.2)
    panels: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    stars, recovery = panels[:2]
    drawing = Drawing(
        "models",
        "The models side by side",
        figure,
        f"Recovery at t = {t:g} on train rows (solid) and test rows (dashed), above it N_half of each model "
        "that has one, with its 95 % interval"
        + (
            ", below it the entropy gap with its 95 % interval: mean entropy on the model's own samples minus that on "
            "its train rows."
            if any(gaps.values())
            else "."
        ),
        _models_table(study, halves, gaps),
    )
    for index, backbone in enumerate(study.backbones):
        colour = category(index)
        _whisker(drawing, stars, halves[backbone], -index, colour, f"{visible(backbone)}: N_half")
        for split in ("train", "test"):
            name = f"{visible(backbone)}, {split}"
            curve(drawing, recovery, study.means("recovery", backbone, split, t), name, colour, SPLIT_STYLES[split])
        if gaps[backbone]:
            curve(drawing, panels[2], gaps[backbone], f"{visible(backbone)}, entropy gap [nats]", colour, "-")
    stars.set(ylim=(-len(study.backbones) + 0.4, 0.6), yticks=[], ylabel="N_half")
    stars.grid(axis="y", visible=False)
    recovery.set(ylim=(-0.02, 1.04), ylabel=f"recovery, t = {t:g}")
    if len(panels) > 2:
        panels[2].axhline(0.0, color=FAINT[0], linewidth=0.8)
        panels[2].set_ylabel("entropy gap [nats]")
    for axes in panels:
        size_axis(axes, study.sizes)
        if axes is not panels[-1]:
            axes.set_xlabel("")
    sizes = enumerate(study.parameters.items())
    handles = [
        legend_line(f"{visible(name)}, {size:,} parameters", category(i), width=2.4) for i, (name, size) in sizes
    ]
    handles += [legend_line(split, TEXT[0], SPLIT_STYLES[split], 1.4) for split in ("train", "test")]
    drawing.legend(handles)
    return drawing


def agreement_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw N_mem, N_half and N_gen by every method and t; the remarks give the reasons for missing ones."""
    lines = [(backbone, estimate) for backbone in study.backbones for estimate in verdict.estimates(backbone)]
    if not lines:
        return None
    several = len(study.backbones) > 1
    heads = {(backbone, estimate.method) for backbone, estimate in lines}
    figure = new_figure(WIDTH, 1.1 + 0.235 * (len(lines) + len(heads)))
    axes = figure.subplots()
    drawing = Drawing(
        "agreement",
        "Transition sizes by method",
        figure,
        "For recovery: "
        + "; ".join(f"{SIZES[name]}, {meaning}" for name, meaning in MEANINGS.items())
        + f". Bars are 95 % intervals. {DIFFER} {'. '.join(UNDEFINED.values())}.",
        _agreement_table(lines),
        remarks=_missing(lines, several),
    )
    ticks: list[tuple[float, str]] = []
    y, last = 0.0, ("", "")
    inside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    for backbone, estimate in lines:
        if last != (backbone, estimate.method):
            last = backbone, estimate.method
            head = f"{visible(backbone)}: {METHODS[estimate.method]}" if several else METHODS[estimate.method]
            axes.annotate(head, (0.0, y), xytext=(4, 0), fontsize=SMALL, fontweight="bold", **inside)
            y -= 1.0
        ticks.append((y, "" if estimate.t is None else f"t = {estimate.t:g}"))
        colour = TEXT[0] if estimate.t is None else colour_of(study, estimate.t)
        for name, marker in MARKERS.items():
            shift = 0.22 * (list(MARKERS).index(name) - 1)
            spoken = f"{SIZES[name]} by {estimate.name}"
            _whisker(drawing, axes, estimate.crossings.get(name), y + shift, colour, spoken, marker)
        if not estimate.crossings:
            axes.annotate("none", (0.0, y), xytext=(4, 0), fontsize=SMALL, color=TEXT[0], **inside)
        y -= 1.0
    size_axis(axes, study.sizes, label="training rows")
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    axes.set_ylim(y + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    handles = [legend_line(SIZES[name], TEXT[0], "none", marker=marker) for name, marker in MARKERS.items()]
    drawing.legend(handles)
    return drawing


MARKERS = {"n_mem": "<", "n_half": "o", "n_gen": ">"}


def _missing(lines: list[tuple[str, Estimate]], several: bool) -> list[str]:
    """Return the reasons for missing sizes; equal reasons at several t are merged."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for backbone, estimate in lines:
        names = [name for name in SIZES if name not in estimate.crossings]
        for why in dict.fromkeys(estimate.why(name) for name in names if estimate.why(name) != UNDEFINED.get(name)):
            lacking = listed([SIZES[name] for name in names if estimate.why(name) == why])
            place = backbone if several else "", METHODS[estimate.method], lacking, why
            found.setdefault(place, []).extend([] if estimate.t is None else [f"{estimate.t:g}"])
    return [
        visible(", ".join([*filter(None, (whose, method)), *([f"t = {', '.join(times)}"] if times else [])]))
        + f": no {lacking}"
        + (f" ({visible(why)})" if why else "")
        for (whose, method, lacking, why), times in found.items()
    ]


def _whisker(
    drawing: Drawing, axes: Axes, crossing: Crossing | None, y: float, colour: str, name: str, marker: str = "o"
) -> None:
    if crossing is None:
        return
    if crossing.low is not None and crossing.high is not None:
        ends = [crossing.low, crossing.high]
        axes.plot(ends, [y, y], "-", color=colour, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
        axes.plot(ends, [y, y], "|", color=colour, markersize=7, markeredgewidth=1.2)
    (dot,) = axes.plot([crossing.value], [y], marker, color=colour, markersize=6)
    drawing.mark(dot, [f"{name} = {crossing.spelled}"])


def _models_table(study: Study, numbers: dict[str, Crossing | None], gaps: dict[str, list[Mean]]) -> Table:
    rows = []
    for backbone in study.backbones:
        crossing, mine = numbers[backbone], by_size(gaps[backbone])
        for size in study.sizes:
            means = [study.mean("recovery", backbone, split, size, study.reference) for split in ("train", "test")]
            cells = [decimal(mean.value if mean else None) for mean in means]
            cells.append(spelled(mine.get(size)))
            star = crossing.spelled if crossing else decimal(None)
            rows.append([visible(backbone), star, count(size), *cells])
    return Table(["model", "N_half", "N", "train recovery", "test recovery", "entropy gap [nats]"], rows)


def _agreement_table(lines: list[tuple[str, Estimate]]) -> Table:
    rows = []
    for backbone, estimate in lines:
        sizes = [found.spelled if (found := estimate.crossings.get(name)) else decimal(None) for name in SIZES]
        method = METHODS[estimate.method]
        cells = [*sizes, decimal(estimate.deviance_per_df, 1), visible("; ".join(estimate.missing))]
        rows.append([visible(backbone), visible(method), time(estimate.t), *cells])
    head = ["model", "method", "t", *(f"{name} (95 % interval)" for name in SIZES.values())]
    return Table([*head, "deviance per degree of freedom", "why a number is missing"], rows)
