"""Parts that the figures share."""

from typing import Any

import pytest

from uddm_lightning.report.estimates import Crossing
from uddm_lightning.report.figures.drawing import ONE_COLUMN, Drawing, Table, new_figure, style
from uddm_lightning.report.figures.plotting import draw_crossing, size_axis


@pytest.mark.parametrize(
    ("crossing", "label"),
    [(Crossing(32, 16, 64), "N_mem = 32\n16 to 64"), (Crossing(32, 32, 32), "N_mem = 32"), (None, None)],
)
def test_an_interval_of_one_size_is_not_written(crossing: Crossing | None, label: str | None) -> None:
    axes: Any = new_figure(ONE_COLUMN, 2.0).subplots()
    size_axis(axes, [2, 32, 512])
    draw_crossing(axes, crossing, "n_mem")
    assert [text.get_text() for text in axes.texts] == ([label] if label else [])


def test_the_first_and_the_last_size_keep_their_labels():
    figure = new_figure(ONE_COLUMN, 2.0)
    axes = figure.subplots()
    size_axis(axes, [2**k for k in range(14)])
    figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "1"
    assert labels[-1] == "8,192"
    assert "" in labels


def test_powers_on_a_logarithmic_axis_are_numbers() -> None:
    with style():
        figure = new_figure(ONE_COLUMN, 2.0)
        axes = figure.subplots()
        axes.plot([0.001, 1000.0], [0.001, 10000.0])
        axes.set(xscale="log", yscale="log")
        svg = Drawing("one", "One", figure, "", Table([], []), is_narrow=False).svg.decode()
    assert "mathdefault" not in svg
    assert ">0.01<" in svg
    assert ">1,000<" in svg
