"""Texts beside lines and inside strips, placed when the figure is drawn."""

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform
from typing_extensions import override

from uddm_lightning.report.figures.drawing import SMALL, Drawing
from uddm_lightning.results.reference import reference
from uddm_lightning.results.study import Mean

Label = tuple[str, Sequence[Mean], str, float | None]  # text, line, colour, and t at which it is shown
_APART = 3.0  # points between a name and its line


class FittingText(Text):
    """A text that is left out where it is wider than its room.

    Args:
        room: left and right end, in data coordinates.
        text: other arguments of a text.
    """

    def __init__(self, room: tuple[float, float], *text: Any, **properties: Any) -> None:
        super().__init__(*text, **properties)
        self.room = room
        self.set_in_layout(False)

    @override
    def draw(self, renderer: Any, *args: Any, **kwargs: Any) -> None:
        """Draw the text if it fits."""
        assert self.axes is not None
        left, right = (self.axes.transData.transform((end, 0.0))[0] for end in self.room)
        if self.get_window_extent(renderer).width < 0.95 * (right - left):  # apart from its neighbours
            super().draw(renderer, *args, **kwargs)


class LineName(Text):
    """The name of a line, beside it where it touches no line and no other text; left out if there is no such place.

    Args:
        drawing: knows the t of each line; lines of other times do not count on a page, which hides them.
        text: the name.
        means: the points of the line.
        colour: of the text.
        t: of the line; None for a line that is always shown.
    """

    def __init__(self, drawing: Drawing, text: str, means: Sequence[Mean], colour: str, t: float | None) -> None:
        super().__init__(0.0, 0.0, text, color=colour, fontsize=SMALL, ha="center", va="center")
        self.drawing, self.means, self.t = drawing, means, t
        self.place: Bbox | None = None  # of the last drawing
        self.set_transform(IdentityTransform())
        self.set_in_layout(False)

    @override
    def draw(self, renderer: Any, *args: Any, **kwargs: Any) -> None:
        """Draw the name at the first place that is free, from the left end of the line on."""
        self.place = next(filter(self._is_free(renderer), self._places(renderer)), None)
        if self.place is not None:
            self.set_position(((self.place.x0 + self.place.x1) / 2, (self.place.y0 + self.place.y1) / 2))
            super().draw(renderer, *args, **kwargs)

    def _places(self, renderer: Any) -> Iterator[Bbox]:
        """Yield places above and below the points of the line and the middles between them."""
        assert self.axes is not None
        size = self.get_window_extent(renderer)
        points = self.axes.transData.transform([(mean.size, mean.value) for mean in self.means])
        middles = [*((points[1:] + points[:-1]) / 2), points[-1]]
        shift = size.height / 2 + renderer.points_to_pixels(_APART)
        for x, y in (place for pair in zip(points, middles, strict=True) for place in pair):
            for centre in (y + shift, y - shift):
                left, bottom = x - size.width / 2, centre - size.height / 2
                yield Bbox.from_bounds(left, bottom, size.width, size.height)

    def _is_free(self, renderer: Any) -> Any:
        """Return a function that tells whether a place is inside the panel and free."""
        axes = self.axes
        assert axes is not None
        frame = axes.get_window_extent(renderer)
        lines = [line.get_path().transformed(line.get_transform()) for line in axes.lines if self._is_shown(line)]
        whiskers = [one for one in axes.collections if isinstance(one, LineCollection) and self._is_shown(one)]
        lines += [path.transformed(one.get_transform()) for one in whiskers for path in one.get_paths()]
        texts = [one.place if isinstance(one, LineName) else one.get_window_extent(renderer) for one in axes.texts]
        others = [place for place, one in zip(texts, axes.texts, strict=True) if one is not self and place is not None]

        def is_free(place: Bbox) -> bool:
            is_inside = frame.x0 <= place.x0 and place.x1 <= frame.x1 and frame.y0 <= place.y0 and place.y1 <= frame.y1
            return (
                is_inside
                and not any(path.intersects_bbox(place, filled=False) for path in lines)
                and not any(place.overlaps(other) for other in others)
            )

        return is_free

    def _is_shown(self, line: Artist) -> bool:
        """Return whether a line may be seen together with this name."""
        if self.drawing.shows_all_times:
            return True
        t = self.drawing.times.get(str(line.get_gid()))
        return None in (t, self.t) or t == self.t


def name_lines(drawing: Drawing, axes: Axes, labels: Sequence[Label]) -> None:
    """Write the names of lines beside them; the legend names those that have no room."""
    for text, means, colour, t in labels:
        if means:
            name = LineName(drawing, text, means, colour, t)
            drawing.at(t, name)
            axes.add_artist(name)


def label_ends(drawing: Drawing, axes: Axes, labels: Sequence[Label]) -> None:
    """Write labels beside the right ends of lines, outside the panel and apart from each other.

    Args:
        drawing: collects the t of the labels.
        axes: where to write; its y axis is set.
        labels: at most one for each line.
    """
    low, high = axes.get_ylim()
    apart = 11.0 / (drawing.figure.get_figheight() * 72 * axes.get_position().height)
    found = [((means[-1].value - low) / (high - low), text, colour, t) for text, means, colour, t in labels if means]
    found.sort(key=lambda one: one[0])
    times = [t for *_, t in found if t is not None]
    first = next((i for i, one in enumerate(found) if one[3] is not None and one[3] == reference(times)), 0)
    places = [place for place, *_ in found]
    for i in range(first + 1, len(found)):
        places[i] = max(places[i], places[i - 1] + apart)
    for i in range(first - 1, -1, -1):  # the label of the reference t, which the page shows at first, keeps its place
        places[i] = min(places[i], places[i + 1] - apart)
    for place, (_, text, colour, t) in zip(places, found, strict=True):
        note = axes.annotate(
            text,
            (1.0, place),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=SMALL,
        )
        drawing.at(t, note)
