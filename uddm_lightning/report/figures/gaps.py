"""Figure of the gap between train and test recovery, with the tolerance and the transition sizes."""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from uddm_lightning.report.estimates import MEANINGS, Estimate, Estimates
from uddm_lightning.report.figures import plotting
from uddm_lightning.report.figures.curves import colour_of
from uddm_lightning.report.figures.drawing import FAINT, SIZE_COLOURS, Drawing, Table
from uddm_lightning.report.formatting import answer, count, time, visible
from uddm_lightning.results.reference import SIZES, TOLERANCE
from uddm_lightning.results.study import Study

_LEAST = 3 * TOLERANCE  # of the axis to both sides of 0, so that the tolerance is seen as a band


def gaps_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw the gap of recovery against N for each t, with the tolerance and the transition sizes at the reference t.

    Return None without gaps in transition.json.
    """
    estimates = {
        name: [one for one in verdict.estimates(name) if one.method == "recovery" and one.means]
        for name in study.backbones
    }
    if not any(estimates.values()):
        return None
    figure, (panels,) = plotting.panels_of(study, (1.0,), 4.0)
    handles: list[Artist] = [Patch(color=FAINT[0], alpha=0.25, label="tolerance")]
    drawing = Drawing(
        "gap",
        "The gap between train and test recovery",
        figure,
        "Recovery of train rows minus recovery of test rows, with 95 % intervals. Grey: the tolerance of "
        f"{TOLERANCE:g}; a gap is equivalent to 0 where its whole interval lies inside. ",
        _table(estimates),
    )
    marked, half = set(), False
    for axes, backbone in zip(panels, study.backbones, strict=True):
        axes.axhspan(-TOLERANCE, TOLERANCE, color=FAINT[0], alpha=0.25, linewidth=0, gid="tolerance")
        axes.axhline(0.0, color=FAINT[0], linewidth=0.6)
        for one in estimates[backbone]:
            if one.t is None:
                continue
            weight = 2.2 if one.t == study.reference else 1.2
            plotting.curve(
                drawing, axes, one.means, f"gap, t = {one.t:g}", colour_of(study, one.t), "-", one.t, linewidth=weight
            )
        plotting.panel_axis(axes, study)
        ends = [
            (f"t = {one.t:g}", one.means, colour_of(study, one.t), one.t)
            for one in estimates[backbone]
            if one.t is not None
        ]
        plotting.label_ends(drawing, axes, ends)
        if at := next((one for one in estimates[backbone] if one.t == study.reference), None):
            whose = f"{visible(backbone)}: " if len(study.backbones) > 1 else ""
            handles += _crossings(axes, at, whose)
            marked |= set(at.crossings)
            half |= _half(axes, at)
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(min(low, -_LEAST), max(high, _LEAST))
    panels[0].set_ylabel("gap of recovery")
    meanings = "; ".join(f"{SIZES[name]}, {meaning}" for name, meaning in MEANINGS.items() if name in marked)
    if meanings:
        drawing.caption += f"Vertical lines, at t = {study.reference:g}, with 95 % intervals: {meanings}. "
    if half:
        drawing.caption += "Dash-dotted: half of the way between the plateaus, where N_half is read off."
    drawing.legend(handles)
    return drawing


def _crossings(axes: Axes, estimate: Estimate, whose: str) -> list[Artist]:
    """Draw the three sizes with their intervals; return their entries of the legend."""
    handles: list[Artist] = []
    for name, style in plotting.SIZE_STYLES.items():
        if found := estimate.crossings.get(name):
            plotting.draw_crossing(axes, found, name, label=False)
            words = f"{whose}{SIZES[name]} = {found.spelled}"
            handles.append(plotting.legend_line(words, SIZE_COLOURS[name][0], style, 1.5))
    return handles


def _half(axes: Axes, estimate: Estimate) -> bool:
    """Draw the level half way between plateau and floor, if both were measured; return whether it was drawn."""
    if estimate.plateau is None or estimate.floor is None:
        return False
    axes.axhline((estimate.plateau + estimate.floor) / 2, color=FAINT[0], linewidth=0.8, linestyle="-.", gid="half")
    return True


def _table(estimates: dict[str, list[Estimate]]) -> Table:
    rows = []
    for backbone, mine in estimates.items():
        for one in mine:
            for mean in one.means:
                inside, needed = one.equivalence[mean.size]
                cells = [answer(inside), f"{needed:,}" if needed else ""]
                rows.append([visible(backbone), time(one.t), count(mean.size), plotting.spelled(mean), *cells])
    head = ["model", "t", "N", "train \N{MINUS SIGN} test", f"inside \N{PLUS-MINUS SIGN}{TOLERANCE:g}"]
    return Table([*head, "draws needed"], rows)
