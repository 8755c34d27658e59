"""Figure of two trade-offs of a chain: recovery against changed clean tokens, quality of samples against variety."""

from matplotlib.axes import Axes

from uddm_lightning.report.figures.drawing import CATEGORIES, FAINT, Drawing, Table, category
from uddm_lightning.report.figures.panel_figure import Arrangement, PanelFigure
from uddm_lightning.report.figures.plotting import by_size, legend_line, spelled
from uddm_lightning.report.formatting import count, visible
from uddm_lightning.results.study import Mean, Study


def frontier_drawing(study: Study) -> Drawing | None:
    """Draw both trade-offs of all models at the largest size; None for a single model, or without both of a pair."""
    size, t = study.sizes[-1], study.reference
    restored, drawn = (
        {name: _pair(study, name, *which) for name in study.backbones}
        for which in (
            ("recovery", "test", t, "clean_change_rate", "recovery"),
            ("samples", "samples", None, "unigram_entropy", "generative_perplexity"),
        )
    )
    pairs = [{name: (x, y) for name, (x, y) in found.items() if x and y} for found in (restored, drawn)]
    if len(study.backbones) < 2 or not any(pairs):
        return None
    wide, narrow = Arrangement([(0, 0), (0, 1)], (1.0,), 2, 3.4), Arrangement([(0, 0), (1, 0)], (1.0, 1.0), 1, 6.2)
    figure = PanelFigure(wide, narrow, [-1, -1], share_x=False)
    panels = figure.panels
    drawing = Drawing(
        "frontier",
        "Trade-offs of the chains",
        figure,
        f"All models at N = {count(size)}. First panel: recovery of test rows at t = {t or 0.0:g} against the share "
        "of clean tokens that the chain changes. An overconfident chain may restore more and change more, so compare "
        "recovery at an equal share. Second panel: generative perplexity of own samples against their unigram "
        "entropy, a measure of variety within a row. Grey: test rows. Bars are 95 % intervals.",
        _table(study, restored, drawn),
    )
    x, y = _pair(study, study.backbones[0], "samples", "test", None, "unigram_entropy", "generative_perplexity")
    if pairs[1] and x and y:  # below the dots of the models
        _point(drawing, panels[1], x, y, "test rows, generative perplexity", FAINT[0])
    labels = (("clean tokens changed", "recovery, test rows"), ("unigram entropy [nats]", "generative perplexity"))
    for axes, found, (x_label, y_label) in zip(panels, pairs, labels, strict=True):
        for index, name in enumerate(study.backbones):
            if name in found:
                spoken = f"{visible(name)}, {y_label}"
                _point(drawing, axes, *found[name], spoken, category(index), _marker(index))
        axes.set(xlabel=x_label, ylabel=y_label)
        _widen(axes)
    drawing.legend(
        [legend_line(visible(n), category(i), "none", marker=_marker(i)) for i, n in enumerate(study.backbones)]
    )
    return drawing


def _pair(
    study: Study, backbone: str, metric: str, split: str, t: float | None, *columns: str
) -> tuple[Mean | None, Mean | None]:
    """Return the values of two columns of a model at the largest size."""
    x, y = (by_size(study.column(one, metric, backbone, split, t)).get(study.sizes[-1]) for one in columns)
    return x, y


def _marker(index: int) -> str:
    """Return the marker of the model with this number; models of one colour have different ones."""
    return "os^D"[index // len(CATEGORIES) % 4]


def _point(drawing: Drawing, axes: Axes, x: Mean, y: Mean, name: str, colour: str, marker: str = "o") -> None:
    if y.low is not None and y.high is not None:
        axes.vlines(x.value, y.low, y.high, colors=colour, alpha=0.55, linewidth=1.6)
    (dot,) = axes.plot([x.value], [y.value], marker, color=colour, markersize=6)
    drawing.mark(dot, [f"{name} {spelled(y)} at {spelled(x)}"])


def _widen(axes: Axes) -> None:
    """Set few ticks as plain numbers, and limits of x that do not enlarge differences below the digits of a label."""
    low, high = axes.get_xlim()
    least = 0.02 * max(abs(low), abs(high))
    if high - low < least:
        middle = (low + high) / 2
        axes.set_xlim(middle - least / 2, middle + least / 2)
    axes.locator_params(nbins=4)
    axes.ticklabel_format(useOffset=False)


def _table(study: Study, *found: dict[str, tuple[Mean | None, Mean | None]]) -> Table:
    rows = [[visible(name), *(spelled(mean) for pairs in found for mean in pairs[name])] for name in study.backbones]
    heads = ["clean tokens changed", "recovery, test rows", "unigram entropy", "generative perplexity"]
    return Table(["model", *heads], rows)
