"""Files that the report writes."""

from uddm_lightning.report.figures.drawing import Drawing, Table, new_figure
from uddm_lightning.report.writing import _latex


def test_captions_are_escaped_for_latex():
    drawing = Drawing("one", "One", new_figure(1.0, 1.0), r"50 % of a_b \ {c} $x^2$ ~ #1 & 2", Table([], []))
    assert r"\caption{50 \% of a\_b \textbackslash{} \{c\} \$x\textasciicircum{}2\$ \textasciitilde{} \#1 \& 2}" in (
        _latex(drawing)
    )
