"""Parts that the figures share."""

from types import SimpleNamespace
from typing import Any

import pytest

from uddm_lightning.report.figures.drawing import new_figure
from uddm_lightning.report.figures.plotting import label_lines
from uddm_lightning.results.study import Mean


@pytest.mark.parametrize(("ends", "written"), [((0.1, 0.9), ["train", "test"]), ((0.0, 0.001), [])])
def test_lines_that_begin_at_one_place_are_named_by_the_legend_alone(
    ends: tuple[float, float], written: list[str]
) -> None:
    figure = new_figure(6.0, 3.0)
    axes = figure.add_subplot()
    axes.set_ylim(0.0, 1.0)
    drawing: Any = SimpleNamespace(figure=figure, at=lambda t, artist: None)
    names = ("train", "test")
    label_lines(
        drawing,
        axes,
        [(name, Mean(2, end, None, None, ()), "black", None) for name, end in zip(names, ends, strict=True)],
        left=True,
    )
    assert [text.get_text() for text in axes.texts] == written
