"""The first figure: recovery at the reference t, the transition sizes, and the regimes along N."""

import math
from itertools import groupby, pairwise

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from uddm_lightning.report.estimates import MEANINGS, Estimates
from uddm_lightning.report.figures.curves import bands
from uddm_lightning.report.figures.drawing import FAINT, REGIME_COLOURS, SMALL, TEXT, Drawing, Table
from uddm_lightning.report.figures.plotting import (
    SPLIT_STYLES,
    FittingText,
    curve,
    draw_crossing,
    name_lines,
    panel_axis,
    panels_of,
    spelled,
    thin_line,
)
from uddm_lightning.report.formatting import count, decimal, visible
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study

NAME = "front"
_MARKED = ("n_mem", "n_gen")
_HATCHES = {"in transition": "///", "not learned yet": "...", "memorizing": "", "generalizing": ""}


def front_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw train and test recovery and coincidence at the reference t with N_mem and N_gen, above a strip of regimes.

    Return None without recovery.
    """
    t = study.reference
    if not study.times("recovery"):
        return None
    has_regimes = any(verdict.regimes(name) for name in study.backbones)
    figure, panels = panels_of(study, (1.0, 0.09) if has_regimes else (1.0,), 3.7)
    known = {name: found for name in study.backbones if (found := verdict.at(name, "recovery", t))}
    marked = [name for name in _MARKED if any(name in found.crossings for found in known.values())]
    drawing = Drawing(
        NAME,
        "Recovery at the reference t",
        figure,
        f"Token recovery at t = {t:g} on train rows (solid) and test rows (dashed), against the number of training "
        "rows. "
        + bands(study)
        + "".join(f"{SIZES[name]}: {MEANINGS[name]}. " for name in marked)
        + ("Strip: the regime of each size." if has_regimes else ""),
        _table(study, verdict),
    )
    for column, backbone in enumerate(study.backbones):
        axes = panels[0][column]
        for split in ("train", "test"):
            means = study.means("recovery", backbone, split, t)
            curve(drawing, axes, means, split, TEXT[0], SPLIT_STYLES[split], linewidth=2.0)
        coincidence = study.column("coincidence", "recovery", backbone, "test", t)
        thin_line(axes, coincidence, FAINT[0])
        panel_axis(axes, study, labelled=not has_regimes)
        axes.set_ylim(-0.02, 1.24)  # two lines of text fit above a recovery of 1
        axes.set_yticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        ends = {split: study.means("recovery", backbone, split, t) for split in ("train", "test")}
        names = {**ends, "coincidence": coincidence[::-1]}  # the last one from its right end on
        name_lines(drawing, axes, [(name, means, TEXT[0], None) for name, means in names.items()])
        found = known.get(backbone)
        for line, name in enumerate(marked):
            draw_crossing(axes, found.crossings.get(name) if found else None, name, line=line)
        if has_regimes:
            panel_axis(panels[1][column], study)
            _strip(panels[1][column], verdict, backbone)
    panels[0][0].set_ylabel(f"token recovery, t = {t:g}")
    return drawing


def _strip(axes: Axes, verdict: Estimates, backbone: str) -> None:
    """Draw a rectangle for each run of sizes of one regime, with its name where there is room."""
    axes.set(ylim=(0, 1), yticks=[])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    found = verdict.regimes(backbone)
    low, high = axes.get_xlim()
    sizes = [one.size for one in found]
    edges = [low, *(math.sqrt(a * b) for a, b in pairwise(sizes)), high]
    cells = zip(found, edges, edges[1:], strict=False)
    for name, run in groupby(cells, key=lambda cell: cell[0].regime.name):
        group = list(run)
        start, end = group[0][1], group[-1][2]
        colour = REGIME_COLOURS.get(name, FAINT)[0]
        axes.add_patch(
            Rectangle(
                (start, 0),
                end - start,
                1,
                facecolor="none",
                edgecolor=colour,
                alpha=0.5,
                linewidth=0,
                hatch=_HATCHES.get(name, "xx"),
            )
        )
        axes.add_patch(Rectangle((start, 0), end - start, 1, facecolor=colour, alpha=0.2, linewidth=0))
        axes.plot([start, end], [0.97, 0.97], color=colour, linewidth=2.4, solid_capstyle="butt")
        place = math.sqrt(start * end), 0.45
        small = {"color": TEXT[0] if name not in REGIME_COLOURS else colour, "fontsize": SMALL}
        axes.add_artist(FittingText((start, end), *place, name, ha="center", va="center", **small))


def _table(study: Study, verdict: Estimates) -> Table:
    rows = []
    for backbone in study.backbones:
        regimes = {one.size: one.regime.name for one in verdict.regimes(backbone)}
        for size in study.sizes:
            means = [study.mean("recovery", backbone, split, size, study.reference) for split in ("train", "test")]
            level = means[1].number("coincidence") if means[1] else None
            cells = [*map(spelled, means), decimal(level), regimes.get(size, "")]
            rows.append([visible(backbone), count(size), *cells])
    return Table(["model", "N", "train", "test", "coincidence", "regime"], rows)
