"""Figure of wrong tokens before and after the chain, and of clean tokens that it changes."""

from itertools import product

from uddm_lightning.report import formatting as words
from uddm_lightning.report.figures.drawing import FAINT, TEXT, Drawing, Table
from uddm_lightning.report.figures.plotting import (
    SPLIT_STYLES,
    by_size,
    curve,
    legend_line,
    level,
    oracle_style,
    panel_axis,
    panels_of,
    spelled,
)
from uddm_lightning.report.formatting import count, decimal, draws, percent, visible
from uddm_lightning.results.study import Mean, Study

SPLITS = ("train", "test")
COLUMNS = ("errors_before", "errors_after", "clean_change_rate")
EXACT = "MarkovBackbone"  # the oracle that knows the law of the text


def errors_drawing(study: Study) -> Drawing | None:
    """Draw wrong tokens before and after the chain, and changed clean tokens, at the reference t against N.

    Return None if errors were not counted.
    """
    t = study.reference
    if t is None or not any(_of(study, "errors_after", name, split) for name in study.backbones for split in SPLITS):
        return None
    figure, panels = panels_of(study, (1.6, 1.0), 5.4)
    drawing = Drawing(
        "errors",
        "Wrong tokens before and after the chain",
        figure,
        f"Above: the share of wrong tokens at t = {t:g} before the chain (dotted) and after it, on train rows (solid) "
        "and test rows (dashed). Below: the share of clean tokens that the chain changed. Recovery counts the "
        "corrupted tokens alone; an overconfident model recovers more of them and changes more clean ones. "
        + (f"Thin line, on test rows: {words.oracle_label(EXACT)}." if EXACT in study.oracles else ""),
        _table(study),
    )
    for place, backbone in enumerate(study.backbones):
        above, below = panels[0][place], panels[1][place]
        before = _of(study, "errors_before", backbone, "test") or _of(study, "errors_before", backbone, "train")
        curve(drawing, above, before, "before the chain", FAINT[0], ":", markersize=2.5)
        for split in SPLITS:
            after, changed = (_of(study, name, backbone, split) for name in ("errors_after", "clean_change_rate"))
            curve(drawing, above, after, f"{split}, after the chain", TEXT[0], SPLIT_STYLES[split])
            curve(drawing, below, changed, f"{split}, clean tokens changed", TEXT[0], SPLIT_STYLES[split])
        for axes, column in ((above, "errors_after"), (below, "clean_change_rate")):
            level(axes, study.sizes, _of(study, column, EXACT, "test"), 0, TEXT[0])
            panel_axis(axes, study, labelled=axes is below)
    for row in panels:  # the panels of a row share their limits
        top = 1.1 * max(axes.dataLim.y1 for axes in row) or 1.0
        row[0].set_ylim(-0.03 * top, top)  # markers at 0 are whole
    panels[0][0].set_ylabel("wrong tokens")
    panels[1][0].set_ylabel("clean tokens\nchanged")
    handles = [legend_line("before", FAINT[0], ":")]
    handles += [legend_line(f"{split}, after", TEXT[0], SPLIT_STYLES[split]) for split in SPLITS]
    if EXACT in study.oracles:
        handles.append(legend_line(words.oracle_label(EXACT), TEXT[0], oracle_style(0)))
    drawing.legend(handles)
    return drawing


def errors_sentences(study: Study) -> list[str]:
    """Return the effect of the chain on wrong tokens of test rows, at the reference t and each model's largest size."""
    found, costs, t = [], False, study.reference
    for backbone in study.backbones:
        before, after, changed = (next(reversed(_of(study, name, backbone, "test")), None) for name in COLUMNS)
        if before is None or after is None or t is None:
            continue
        whose = f"{backbone} at N" if len(study.backbones) > 1 else "N"
        words_ = f"Test rows at t = {t:g}, {whose} = {count(after.size)}: {moved(before.value, after.value)}"
        words_ += f" and changed {percent(changed.value)} of the clean tokens" if changed else ""
        found.append(words_ + ".")
        costs |= after.value > before.value
    if not found:
        return []
    exact = [next(reversed(_of(study, name, EXACT, "test")), None) for name in COLUMNS[:2]]
    if costs and all(map(draws, study.values("sampler", "recovery"))):
        found.append(
            "Sampling has a cost: a chain that draws its tokens is wrong more often than the likeliest tokens would "
            "be, even with the exact posterior."
        )
    if exact[0] and exact[1]:
        found.append(f"With the exact posterior, {moved(exact[0].value, exact[1].value)}.")
    return found


def moved(before: float, after: float) -> str:
    """Return how the share of wrong tokens changed, in words that fit the digits shown."""
    one, two = percent(before), percent(after)
    if one == two:
        return f"the chain left the share of wrong tokens at {one}"
    return f"the chain {'raised' if after > before else 'lowered'} the share of wrong tokens from {one} to {two}"


def cells(study: Study, backbone: str, split: str, size: int, t: float | None) -> list[str]:
    """Return two cells of a table: wrong tokens before and after the chain, and the share of changed clean tokens."""
    before, after, changed = (by_size(_of(study, name, backbone, split, t)).get(size) for name in COLUMNS)
    both = f"{percent(before.value)} → {percent(after.value)}" if before and after else decimal(None)
    return [both, percent(changed.value) if changed else decimal(None)]


def _of(study: Study, column: str, backbone: str, split: str, t: float | None = None) -> list[Mean]:
    return study.column(column, "recovery", backbone, split, study.reference if t is None else t)


def _table(study: Study) -> Table:
    rows = []
    for backbone, t, split in product([*study.backbones, *study.oracles], study.times("recovery"), SPLITS):
        columns = [by_size(_of(study, name, backbone, split, t)) for name in COLUMNS]
        for size in sorted(columns[1]):
            shares = [spelled(column.get(size)) for column in columns]
            rows.append([visible(backbone), f"{t:g}", split, count(size), *shares])
    return Table(["model", "t", "rows", "N", "wrong before", "wrong after", "clean tokens changed"], rows)
