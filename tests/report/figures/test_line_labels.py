"""Names of lines: where they stand, and when they are left out."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from uddm_lightning.report.figures.drawing import new_figure
from uddm_lightning.report.figures.line_labels import LineName, label_ends, name_lines
from uddm_lightning.results.study import Mean

SIZES = (2, 8, 32, 128)


def means(values: Any) -> list[Mean]:
    return [Mean(size, value, None, None, ()) for size, value in zip(SIZES, values, strict=True)]


def drawn(lines: dict[str, Any], height: float = 3.0, whisker: bool = False) -> tuple[Any, list[LineName]]:
    """Draw lines with their names."""
    figure = new_figure(3.4, height)
    axes = figure.add_subplot()
    axes.set(xscale="log", ylim=(0.0, 1.0), xlim=(1.5, 170))
    drawing: Any = SimpleNamespace(figure=figure, times={}, shows_all_times=False, at=lambda t, artist: None)
    for values in lines.values():
        axes.plot(SIZES, values)
        if whisker:
            axes.vlines(SIZES, np.array(values) - 0.1, np.array(values) + 0.1)
    name_lines(drawing, axes, [(name, means(values), "black", None) for name, values in lines.items()])
    figure.canvas.draw()
    return axes, [text for text in axes.texts if isinstance(text, LineName)]


@pytest.mark.parametrize("whisker", [False, True])
@pytest.mark.parametrize(
    "lines",
    [
        {"train": (1.0, 0.9, 0.4, 0.3), "test": (0.05, 0.5, 0.4, 0.3)},
        {"train": (0.0, 0.1, 0.6, 0.9), "test": (0.2, 0.5, 0.8, 0.9), "own samples": (0.0, 0.4, 0.7, 0.95)},
        {"train": (0.95, 0.5, 0.1, 0.1), "test": (0.1, 0.1, 0.1, 0.1)},
    ],
)
def test_names_touch_no_line_and_no_other_name(lines: dict[str, Any], whisker: bool) -> None:
    axes, names = drawn(lines, whisker=whisker)
    frame = axes.get_window_extent()
    paths = [line.get_path().transformed(line.get_transform()) for line in axes.lines]
    paths += [path.transformed(one.get_transform()) for one in axes.collections for path in one.get_paths()]
    places = [name.place for name in names if name.place is not None]
    assert len(places) >= 2
    for place in places:
        assert frame.x0 <= place.x0 < place.x1 <= frame.x1
        assert frame.y0 <= place.y0 < place.y1 <= frame.y1
        assert not any(path.intersects_bbox(place, filled=False) for path in paths)
    assert not any(one.overlaps(other) for one, other in pairwise(places))


def test_a_name_without_room_is_left_out() -> None:
    _, names = drawn({"train": (0.5, 0.5, 0.5, 0.5)}, height=0.4)
    assert [name.place for name in names] == [None]


@pytest.mark.parametrize("shows_all_times", [False, True])
def test_lines_of_other_times_count_only_where_they_are_seen(shows_all_times: bool) -> None:
    figure = new_figure(3.4, 3.0)
    axes = figure.add_subplot()
    axes.set(xscale="log", ylim=(0.0, 1.0), xlim=(1.5, 170))
    drawing: Any = SimpleNamespace(
        figure=figure,
        times={"other": 0.5, "mine": 0.1},
        shows_all_times=shows_all_times,
        at=lambda t, artist: None,
    )
    axes.plot(SIZES, [0.5] * 4, gid="mine")
    for level in np.linspace(0.0, 1.0, 60):
        axes.plot(SIZES, [level] * 4, gid="other")
    name_lines(drawing, axes, [("train", means([0.5] * 4), "black", 0.1)])
    figure.canvas.draw()
    [name] = [text for text in axes.texts if isinstance(text, LineName)]
    assert (name.place is None) == shows_all_times


def test_labels_at_the_right_ends_stand_apart() -> None:
    figure = new_figure(6.0, 3.0)
    axes = figure.add_subplot()
    axes.set_ylim(0.0, 1.0)
    drawing: Any = SimpleNamespace(figure=figure, at=lambda t, artist: None)
    label_ends(drawing, axes, [(f"t = {t}", means([0.0, 0.0, 0.0, 0.3]), "black", t) for t in (0.05, 0.1, 0.25)])
    figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(above.y0 >= below.y0 + 8 for below, above in pairwise(boxes))
