"""The first figure: its strip of regimes, its labels in both widths, and captions for LaTeX."""

import re

import pytest
from matplotlib.collections import LineCollection

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import ONE_COLUMN, REGIME_COLOURS, palette, style
from uddm_lightning.report.figures.front import front_drawing
from uddm_lightning.results.study import Study


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    rows = sweeps.measurements(tmp_path_factory.mktemp("front"), kinds=("recovery",))
    with style():
        drawing = front_drawing(Study(rows), Estimates(sweeps.transition()))
        assert drawing is not None
        assert drawing.svg
        assert drawing.narrow_svg
    return drawing


def test_every_run_of_sizes_has_the_colour_of_its_regime(front):
    strip = front.figure.axes[1]
    colours = [REGIME_COLOURS[name][0] for name in ("memorizing", "in transition", "generalizing")]
    drawn = [line.get_color() for line in strip.lines]
    assert [colour for colour in drawn if colour in colours] == colours
    assert [text.get_text() for text in strip.texts] == [
        "memorizing",
        "in transition",
        "undetermined",
        "generalizing",
    ]


def test_labels_that_do_not_fit_are_left_out(front):
    wide, narrow = front.svg.decode(), front.narrow_svg.decode()
    assert ">undetermined<" in wide
    assert ">undetermined<" not in narrow
    assert ">memorizing<" in narrow
    assert ">8,192<" in narrow
    assert float(re.findall(r'<svg[^>]* width="([\d.]+)pt"', narrow)[0]) == pytest.approx(72 * ONE_COLUMN)


def test_no_other_thing_has_the_colour_of_a_regime():
    pairs = list(palette().values())
    assert len({light for light, _ in pairs}) == len({dark for _, dark in pairs}) == len(pairs)


def test_labels_of_sizes_touch_no_line(tmp_path):
    names, sizes = ("small", "large"), (10, 100, 1000)
    rows = sweeps.measurements(tmp_path, sizes, seeds=(0, 1), backbones=names, kinds=("recovery",))
    with style():
        drawing = front_drawing(Study(rows), Estimates(sweeps.transition(names, sizes=sizes)))
        assert drawing is not None
        assert drawing.svg
        drawing.figure.canvas.draw()
    labels = 0
    for axes in drawing.figure.axes[:2]:
        lines = [one for one in axes.lines if not str(one.get_gid()).endswith("-line")]
        paths = [one.get_path().transformed(one.get_transform()) for one in lines]
        whiskers = [one for one in axes.collections if isinstance(one, LineCollection)]
        paths += [path.transformed(one.get_transform()) for one in whiskers for path in one.get_paths()]
        for text in (text for text in axes.texts if str(text.get_gid()).endswith("-label")):
            assert not any(path.intersects_bbox(text.get_window_extent(), filled=False) for path in paths), text
            labels += 1
    assert labels == 3
