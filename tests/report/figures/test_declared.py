"""Figures that a probe declares."""

from dataclasses import replace
from pathlib import Path

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.figures.declared import declared_drawings
from uddm_lightning.report.figures.drawing import style
from uddm_lightning.results.declarations import Declaration, Declarations, Figure
from uddm_lightning.results.study import Study


def declared(study: Study, metric: str) -> Declaration:
    one = next(one for one in study.declared if metric in one.metrics)
    return replace(one, figure=Figure("A title", "A caption.", metric))


def test_a_figure_has_a_line_for_each_split_and_t(tmp_path: Path) -> None:
    rows = sweeps.measurements(tmp_path)
    own = declared(Study(rows, sweeps.DECLARED), "recovery")
    study = Study(rows, Declarations([own]))
    with style():
        (drawing,) = declared_drawings(study)
    assert (drawing.name, drawing.title) == ("recovery", "A title")
    assert drawing.caption.startswith("A caption.")
    assert {row[0] for row in drawing.table.rows} == {"DiT"}
    assert len(drawing.tips) >= 2 * len(sweeps.TIMES)


def test_a_probe_without_results_has_no_figure(tmp_path: Path) -> None:
    rows = sweeps.measurements(tmp_path, kinds=("entropy",))
    own = declared(Study(rows, sweeps.DECLARED), "recovery")
    with style():
        assert declared_drawings(Study(rows, Declarations([own]))) == []
    assert declared_drawings(Study(rows, sweeps.DECLARED)) == []
