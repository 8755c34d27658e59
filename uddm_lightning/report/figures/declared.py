"""Figures of probes that declare one: a value against N, a line for each split and t."""

from collections.abc import Mapping

from uddm_lightning.report.figures.curves import bands
from uddm_lightning.report.figures.drawing import TEXT, Drawing, Table, ramp
from uddm_lightning.report.figures.plotting import (
    SPLIT_NAMES,
    SPLIT_STYLES,
    curve,
    legend_line,
    panel_axis,
    panels_of,
    spelled,
)
from uddm_lightning.report.formatting import count, visible
from uddm_lightning.results.declarations import Declaration, Figure
from uddm_lightning.results.study import Mean, Study


def declared_drawings(study: Study) -> list[Drawing]:
    """Return the figures of all probes that declare one and have results."""
    return [drawing for one in study.declared if one.figure and (drawing := _drawing(study, one, one.figure))]


def _drawing(study: Study, declared: Declaration, figure: Figure) -> Drawing | None:
    """Return the figure of one probe; None if nothing was measured."""
    found = {backbone: study.curves(declared, backbone) for backbone in study.backbones}
    keys = list(dict.fromkeys(key for curves in found.values() for key in curves))
    if not keys:
        return None
    canvas, panels = panels_of(study, (1.0,), 4.0)
    drawing = Drawing(
        declared.metrics[0], figure.title, canvas, f"{figure.caption} {bands(study)}".strip(), _table(found)
    )
    times = sorted({t for _, _, t in keys if t is not None})
    colours: dict[float | None, str] = {t: ramp(place, len(times))[0] for place, t in enumerate(times)}
    for axes, curves in zip(panels[0], found.values(), strict=True):
        for (_, split, t), means in curves.items():
            curve(drawing, axes, means, _label(split, t), colours.get(t, TEXT[0]), SPLIT_STYLES[split], t)
        panel_axis(axes, study)
    column = keys[0][0]
    unit = next((one.unit for one in declared.columns if one.name == column), "")
    panels[0][0].set_ylabel(f"{column.replace('_', ' ')} [{unit}]")
    handles = [legend_line(_label(split, t), colours.get(t, TEXT[0]), SPLIT_STYLES[split]) for _, split, t in keys]
    drawing.legend(handles)
    return drawing


def _label(split: str, t: float | None) -> str:
    return SPLIT_NAMES[split] + ("" if t is None else f", t = {t:g}")


def _table(found: Mapping[str, Mapping[tuple[str, str, float | None], list[Mean]]]) -> Table:
    rows = [
        [visible(backbone), SPLIT_NAMES[split], "" if t is None else f"{t:g}", count(mean.size), spelled(mean)]
        for backbone, curves in found.items()
        for (_, split, t), means in curves.items()
        for mean in means
    ]
    return Table(["model", "rows", "t", "N", "value"], rows)
