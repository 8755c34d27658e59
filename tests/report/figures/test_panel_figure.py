"""Two arrangements of panels: each panel has its room in both, and labels where readers look for them."""

from itertools import combinations
from typing import Any

import pytest

from tests.support import made_sweeps as sweeps
from uddm_lightning.report.figures.drawing import ONE_COLUMN, WIDTH, Drawing, Table, style
from uddm_lightning.report.figures.panel_figure import PanelFigure, blocks, panels_of, small_panels
from uddm_lightning.results.study import Study


def drawn(figure: PanelFigure, is_narrow: bool) -> list[Any]:
    """Return the boxes of the panels with their labels, in inches."""
    drawing = Drawing("one", "One", figure, "", Table([], []))
    with style():
        _ = drawing.svg
        if is_narrow:
            assert drawing.narrow_svg
        renderer: Any = figure.canvas
        return [axes.get_tightbbox(renderer.get_renderer()) for axes in figure.panels]


@pytest.mark.parametrize("is_narrow", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_blocks_stand_side_by_side_or_below_each_other(number: int, is_narrow: bool) -> None:
    figure, rows = blocks(number, (1.0, 2.0), 4.0)
    rows[0][0].set_ylabel("above")
    rows[1][0].set_ylabel("below")
    boxes = drawn(figure, is_narrow)
    assert figure.get_figwidth() == (ONE_COLUMN if is_narrow else WIDTH)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    first = [box.x0 for box in boxes[:number]]
    assert (max(first) - min(first) < 1.0) == (is_narrow or number == 1)
    labels = [axes.get_ylabel() for axes in rows[0]]
    assert labels == (["above"] * number if is_narrow else ["above", "", "above"][:number])
    assert len({axes.get_ylim() for axes in rows[1]}) == 1, "a row shares its axis"


@pytest.mark.parametrize("is_narrow", [False, True])
@pytest.mark.parametrize("splits", [("train",), ("train", "test"), ("train", "test", "random")])
@pytest.mark.parametrize("below", [0.0, 2.2])
def test_small_panels_do_not_overlap(splits: tuple[str, ...], below: float, is_narrow: bool) -> None:
    sizes = (2, 128, 8192)
    figure, panels = small_panels(splits, sizes, 1.3, "entropy [nats]", "share", below)
    assert list(panels) == [(split, size) for split in splits for size in sizes]
    assert len(figure.panels) == len(panels) + bool(below)
    boxes = drawn(figure, is_narrow)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    places = {key: (round(box.x0), round(box.y0)) for key, box in zip(panels, boxes, strict=False)}
    if len(splits) > 1:
        same_row = places["train", 2][1] == places["test", 2][1]
        assert same_row == is_narrow, "rows are splits on a wide page and sizes in one column"
    columns = 2 if is_narrow else 3
    assert [axes.get_xlabel() for axes in panels.values()].count("entropy [nats]") == columns


def test_every_backbone_has_its_title(tmp_path: Any) -> None:
    study = Study(sweeps.measurements(tmp_path, (8, 64), backbones=("a", "b"), kinds=("recovery",)))
    _, [panels] = panels_of(study, (1.0,), 4.0)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels] == [
        f"{name}, {study.parameters[name]:,} parameters" for name in study.backbones
    ]
