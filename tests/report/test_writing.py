"""Files that the report writes."""

import numpy as np
import pytest

from tests.support import made_sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import Drawing, Table, new_figure, style
from uddm_lightning.report.writing import _drawings, _latex
from uddm_lightning.results.study import Study

ENTROPIES = [f"entropy{end}" for end in ("", "_low", "_high")]
NELBOS = [f"nelbo{end}" for end in ("", "_low", "_high")]
SCALED = (*ENTROPIES, *NELBOS, "errors_before", "errors_after", "clean_change_rate", "generative_perplexity")


def test_captions_are_escaped_for_latex():
    drawing = Drawing("one", "One", new_figure(1.0, 1.0), r"50 % of a_b \ {c} $x^2$ ~ #1 & 2", Table([], []))
    assert r"\caption{50 \% of a\_b \textbackslash{} \{c\} \$x\textasciicircum{}2\$ \textasciitilde{} \#1 \& 2}" in (
        _latex(drawing)
    )


@pytest.mark.parametrize("largest", range(3))
def test_no_value_lies_outside_its_panel(tmp_path, largest):
    """Panels share limits, which must hold the values of every model, whichever is the largest."""
    names = ("a", "b", "c")
    rows = made_sweeps.measurements(tmp_path, backbones=names)
    for row in rows:
        if row["backbone"] == names[largest]:
            row |= {name: str(8.0 * float(row[name])) for name in SCALED if row.get(name)}
    with style():
        drawings, *_ = _drawings(Study(rows), Estimates(made_sweeps.transition(names)), None, None)
        assert {"recovery", "entropy", "errors", "samples"} <= {drawing.name for drawing in drawings}
        for drawing in drawings:
            for axes in drawing.figure.axes:
                (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
                for line in axes.get_lines():
                    if line.get_gid() in drawing.tips:
                        x, y = (np.asarray(values, float) for values in line.get_data())
                        inside = (left <= x) & (x <= right) & (low <= y) & (y <= high)
                        assert (inside | np.isnan(y)).all(), (drawing.name, axes.get_title(loc="left"), y, (low, high))
