"""Figure that compares the transition sizes of several models: ratios with intervals."""

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import FAINT, SIZE_COLOURS, WIDTH, Drawing, Table, new_figure
from uddm_lightning.report.figures.plotting import by_size, legend_line
from uddm_lightning.report.formatting import answer, count, decimal, visible, with_interval
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study
from uddm_lightning.transition.comparison import compared_with, difference

_MARKERS = {"n_mem": "<", "n_half": "o", "n_gen": ">"}


def ratios_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw the ratios of N_mem, N_half and N_gen of each model to those of one model; None without a ratio."""
    rows = [row for row in verdict.comparison if row["ratio"] is not None]
    if not rows:
        return None
    names = list(dict.fromkeys(row["backbone"] for row in verdict.comparison))
    figure = new_figure(WIDTH, 1.3 + 0.4 * len(names))
    axes = figure.subplots()
    drawing = Drawing(
        "ratios",
        "Does the transition move?",
        figure,
        f"Transition sizes by recovery at t = {study.reference:g}, in multiples of those of {visible(rows[0]['to'])}, "
        "with 95 % intervals. An interval that excludes 1 shows that the size moves; one that includes 1 shows "
        "nothing. Errors of the models are taken to be independent, so intervals are rather too wide. N_mem and N_gen "
        "are measured sizes: their intervals reach over all ratios of sizes in their own intervals.",
        _table(verdict),
        remarks=comparison_sentences(study, verdict),
        is_narrow=True,
    )
    axes.axvline(1.0, color=FAINT[0], linewidth=1.0)
    for row in rows:
        place = -names.index(row["backbone"]) - 0.22 * (list(SIZES).index(row["size"]) - 1)
        colour = SIZE_COLOURS[row["size"]][0]
        if row["low"] is not None and row["high"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], "-", color=colour, linewidth=2.0, alpha=0.55)
        (dot,) = axes.plot([row["ratio"]], [place], _MARKERS[row["size"]], color=colour, markersize=5)
        drawing.mark(dot, [f"{visible(row['backbone'])}, {SIZES[row['size']]}: {_ratio(row)}"])
    axes.set_xscale("log", base=2)
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, 0.45), max(right, 2.2))  # so that the axis has labels
    axes.set_xlabel(f"multiple of the size of {visible(rows[0]['to'])}")
    axes.set_yticks([-place for place in range(len(names))], [visible(name) for name in names])
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    drawing.legend([legend_line(SIZES[n], SIZE_COLOURS[n][0], "none", marker=m) for n, m in _MARKERS.items()])
    return drawing


def comparison_sentences(study: Study, verdict: Estimates) -> list[str]:
    """Return how N_half moves between models, in their order, and how their entropy gaps differ."""
    lines = []
    for row in verdict.comparison:
        if row["size"] != "n_half":
            continue
        name, base = visible(row["backbone"]), visible(row["to"])
        if row["ratio"] is None:
            lines.append(f"{name}: N_half cannot be compared, because {visible(row['reason'])}.")
        elif row["moves"]:
            lines.append(f"{name}: N_half is {_ratio(row)} times that of {base}.")
        else:
            lines.append(f"{name}: whether N_half differs from that of {base} is not shown: {_ratio(row)} times.")
    return lines + _gap_sentences(study)


def _gap_sentences(study: Study) -> list[str]:
    """Return the differences of the entropy gaps between models, at the largest size that both have."""
    base = compared_with(study.parameters)
    times = study.times("entropy")
    at = min(times, key=lambda t: abs(t - (study.reference or 0.0))) if times else None
    if base is None or at is None:
        return []
    theirs, lines = by_size(study.entropy_gaps(base, at)), []
    for name in (name for name in study.backbones if name != base):
        mine = by_size(study.entropy_gaps(name, at))
        shared = [size for size in mine if size in theirs]
        if not shared:
            continue
        one, two = mine[shared[-1]], theirs[shared[-1]]
        if None in (one.low, one.high, two.low, two.high):
            continue
        bounds = [(gap.value, gap.low or 0.0, gap.high or 0.0) for gap in (one, two)]
        value, low, high = difference(*bounds)
        verdict = "narrower" if high < 0 else "wider" if low > 0 else "not shown to differ"
        lines.append(
            f"{visible(name)}: the entropy gap at N = {count(shared[-1])} and t = {at:g} minus that of {visible(base)} "
            f"is {with_interval(value, low, high)} nats: {verdict}."
        )
    return lines


def _ratio(row: dict[str, float]) -> str:
    return with_interval(row["ratio"], row["low"], row["high"], digits=2)


def _table(verdict: Estimates) -> Table:
    rows = [
        [
            visible(row["backbone"]),
            visible(row["to"]),
            SIZES[row["size"]],
            _ratio(row) if row["ratio"] is not None else decimal(None),
            answer(row["moves"]),
            visible(row["reason"] or ""),
        ]
        for row in verdict.comparison
    ]
    return Table(["model", "compared with", "size", "ratio (95 % interval)", "moves", "why it is missing"], rows)
