"""The figure of the way from pure noise to a sample."""

from itertools import product

from matplotlib.axes import Axes

from uddm_lightning.report.figures.drawing import FAINT, Drawing, Table, ramp
from uddm_lightning.report.figures.panel_figure import Arrangement, PanelFigure, blocks
from uddm_lightning.report.figures.plotting import legend_line, spelled
from uddm_lightning.report.formatting import count, decimal, visible
from uddm_lightning.results.study import Mean, Study
from uddm_lightning.results.tables import number

# columns of the table, and the titles of their panels
STATISTICS = {
    "entropy": "entropy [nats]",
    "variance": "variance",
    "variance_norm": "norm of the variance",
    "top2_gap": "first \N{MINUS SIGN} second probability",
    "top_probability": "largest probability",
}


def trajectories_drawing(study: Study) -> Drawing | None:
    """Draw five measures of spread against t, from noise on the left to samples on the right, a line for each size."""
    times = study.times("trajectory")[::-1]
    if not times:
        return None
    found = {name: _sizes(study, name, times) for name in study.backbones}
    backbones = [name for name in study.backbones if found[name]]
    sizes = sorted(set().union(*found.values()))
    alone = len(backbones) == 1
    if alone:
        wide = Arrangement([(0, -1), (1, 0), (1, 1), (2, 0), (2, 1)], (1.3, 1.0, 1.0), 2, 5.6)
        narrow = Arrangement([(row, 0) for row in range(5)], (1.0,) * 5, 1, 8.2)
        figure = PanelFigure(wide, narrow, [-1] * 5, "corruption time t")
        panels = figure.panels
    else:
        figure, rows = blocks(len(backbones), (1.0,) * 5, 8.2)
        panels = [axes for block in zip(*rows, strict=True) for axes in block]
        for axes in rows[-1]:
            axes.set_xlabel("corruption time t")
    drawing = Drawing(
        "trajectories",
        "Predictions along the sampling chain",
        figure,
        "Predictions of the model while its own chain draws samples, from pure noise at t = 1 (left) to text at t = 0 "
        "(right): means over all tokens, one line for each number of training rows. With p a token's prediction: "
        "its entropy; its variance, the sum of p (1 \N{MINUS SIGN} p) over the vocabulary; the norm of the variance, "
        "the root of the sum of their squares; the largest minus the second largest probability; the largest "
        f"probability. {_extrapolation(study)}Whiskers of the entropy are 95 % intervals.",
        _table(study, backbones, sizes, times),
    )
    for (backbone, name), axes in zip(product(backbones, STATISTICS), panels, strict=True):
        for index, size in enumerate(sizes):
            _line(drawing, axes, name, size, _means(study, backbone, name, size, times), ramp(index, len(sizes))[0])
        title = STATISTICS[name] if alone else f"{visible(backbone)}: {STATISTICS[name]}"
        axes.set_title(title, fontsize=8.5)
        axes.set_xlim(1.03, -0.03)
        axes.set_ylim(bottom=0.0)
        if low := _t_min(study):
            axes.axvspan(low, 0.0, color=FAINT[0], alpha=0.16, linewidth=0)
    handles = [legend_line(f"N = {count(size)}", ramp(i, len(sizes))[0], width=2.2) for i, size in enumerate(sizes)]
    drawing.legend(handles)
    return drawing


def _line(drawing: Drawing, axes: Axes, name: str, size: int, means: list[tuple[float, Mean]], colour: str) -> None:
    if not means:
        return
    known = [(t, mean.low, mean.high) for t, mean in means if mean.low is not None and mean.high is not None]
    if known:
        where, lows, highs = zip(*known, strict=True)
        axes.vlines(where, lows, highs, colors=colour, alpha=0.55, linewidth=1.2)
    at = [t for t, _ in means], [mean.value for _, mean in means]
    (line,) = axes.plot(*at, "-", color=colour, marker="o", markersize=1.8, linewidth=1.2)
    drawing.mark(line, [f"{STATISTICS[name]}, N = {count(size)}, t = {t:.3g}: {spelled(mean)}" for t, mean in means])


def _means(study: Study, backbone: str, name: str, size: int, times: list[float]) -> list[tuple[float, Mean]]:
    """Return the means of a statistic at one size, with their t."""
    found = ((t, study.column(name, "trajectory", backbone, "samples", t)) for t in times)
    return [(t, mean) for t, means in found for mean in means if mean.size == size]


def _sizes(study: Study, backbone: str, times: list[float]) -> set[int]:
    return {point.size for t in times for point in study.points("entropy", "trajectory", backbone, "samples", t)}


def _t_min(study: Study) -> float | None:
    """Return the smallest t of training, if all runs have the same."""
    values = study.values("t_min", "trajectory")
    return number(values[0]) if len(values) == 1 else None


def _extrapolation(study: Study) -> str:
    low = _t_min(study)
    return f"Grey: below t = {low:g} the network was not trained, so it extrapolates there. " if low else ""


def _table(study: Study, backbones: list[str], sizes: list[int], times: list[float]) -> Table:
    rows = []
    for backbone, size in product(backbones, sizes):
        entropies, *others = (dict(_means(study, backbone, name, size, times)) for name in STATISTICS)
        for t, entropy in entropies.items():
            cells = [decimal(column[t].value if t in column else None) for column in others]
            rows.append([visible(backbone), count(size), f"{t:.3g}", spelled(entropy), *cells])
    return Table(["model", "N", "t", *STATISTICS.values()], rows)
