"""A figure whose panels stand side by side on a wide page and one below the other on a narrow one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from typing_extensions import override

from uddm_lightning.report.figures.drawing import WIDTH, ReportFigure
from uddm_lightning.report.formatting import visible
from uddm_lightning.results.study import Study

_ACROSS = 2  # blocks side by side at most; more would have labels below 11 pixels


@dataclass(frozen=True)
class Arrangement:
    """Places of panels in a grid.

    Args:
        places: row and column of each panel.
        heights: relative height of each row.
        columns: of the grid; a panel in column -1 has the whole width.
        height: of the figure, in inches.
    """

    places: Sequence[tuple[int, int]]
    heights: Sequence[float]
    columns: int
    height: float


class PanelFigure(ReportFigure):
    """A figure with two arrangements of the same panels.

    Args:
        wide: on a wide page.
        narrow: in one column.
        groups: number of the group of each panel. Panels of a group share their y axis, which has labels in the first
            column only; those of group -1 have an axis of their own.
        x_label: label below the lowest panels of group -1; "" leaves each its own.
        y_label: label beside the panels of group -1 in the first column; "" leaves each its own.
        share_x: whether all panels but those of the whole width share their x axis.

    Attributes:
        panels: in the order of `places`.
    """

    def __init__(
        self,
        wide: Arrangement,
        narrow: Arrangement,
        groups: Sequence[int],
        x_label: str = "",
        y_label: str = "",
        share_x: bool = True,
    ) -> None:
        super().__init__(WIDTH, wide.height)
        self._arrangements = {False: wide, True: narrow}
        self._groups, self._labels = groups, (x_label, y_label)
        self.panels: list[Axes] = []
        firsts: dict[int, Axes] = {}
        for (_, column), group in zip(wide.places, groups, strict=True):
            shared: dict[str, Any] = {"sharex": self.panels[0]} if share_x and self.panels and column >= 0 else {}
            if group >= 0 and group in firsts:
                shared["sharey"] = firsts[group]
            self.panels.append(self.add_subplot(**shared))
            firsts.setdefault(group, self.panels[-1])
        self._firsts = firsts
        self.arrange(is_narrow=False)

    @override
    def arrange(self, is_narrow: bool) -> None:
        """Place the panels and set the height of the figure."""
        found = self._arrangements[is_narrow]
        grid = GridSpec(len(found.heights), found.columns, figure=self, height_ratios=list(found.heights))
        self.set_figheight(found.height)
        for axes, group, (row, column) in zip(self.panels, self._groups, found.places, strict=True):
            axes.set_subplotspec(grid[row, :] if column < 0 else grid[row, column])
            if group >= 0:
                axes.tick_params(labelleft=column <= 0)
                axes.set_ylabel(self._firsts[group].get_ylabel() if column <= 0 else "")
            elif column >= 0:
                is_lowest = (row, column) == max(place for place in found.places if place[1] == column)
                if self._labels[0]:
                    axes.set_xlabel(self._labels[0] if is_lowest else "")
                if self._labels[1]:
                    axes.set_ylabel(self._labels[1] if column == 0 else "")


def panels_of(study: Study, heights: Sequence[float], height: float) -> tuple[PanelFigure, list[list[Axes]]]:
    """Return a figure with a block of panels for each backbone, and its rows of panels.

    Panels of a row share their axes.

    Args:
        study: the measurements; names and parameters of its backbones are the titles.
        heights: relative height of each panel of a block.
        height: of a block, in inches.
    """
    figure, rows = blocks(max(len(study.backbones), 1), heights, height)
    for axes, backbone in zip(rows[0], study.backbones, strict=False):
        if len(study.backbones) > 1:
            axes.set_title(f"{visible(backbone)}, {study.parameters[backbone]:,} parameters")
    return figure, rows


def blocks(
    number: int, heights: Sequence[float], height: float, share_x: bool = True
) -> tuple[PanelFigure, list[list[Axes]]]:
    """Return a figure of equal blocks, two side by side at most, and its rows of panels; see `panels_of`."""
    lines = len(heights)
    cells = [(block, line) for line in range(lines) for block in range(number)]

    def arranged(columns: int) -> Arrangement:
        deep = -(-number // columns)
        places = [(block // columns * lines + line, block % columns) for block, line in cells]
        return Arrangement(places, list(heights) * deep, columns, height * deep)

    figure = PanelFigure(arranged(min(number, _ACROSS)), arranged(1), [line for _, line in cells], share_x=share_x)
    return figure, [figure.panels[line * number : (line + 1) * number] for line in range(lines)]


def small_panels(
    splits: Sequence[str], sizes: Sequence[int], height: float, x_label: str, y_label: str = "", below: float = 0.0
) -> tuple[PanelFigure, dict[tuple[str, int], Axes]]:
    """Return a figure with a small panel for each split and size, and its panels.

    On a wide page each split is a row. In one column each size is a row of two splits, and further splits follow.

    Args:
        splits: at least one.
        sizes: at least one.
        height: of a row of panels, in inches.
        x_label: label below the lowest panels.
        y_label: label beside the panels in the first column.
        below: height in inches of one more panel, as wide as the figure, the last one of the figure; 0 without it.
    """
    keys = [(split, size) for split in splits for size in sizes]
    flow = [(split, size) for size in sizes for split in splits[:2]]
    flow += [(split, size) for split in splits[2:] for size in sizes]
    wide = [(splits.index(split), sizes.index(size)) for split, size in keys]
    narrow = [divmod(flow.index(key), _ACROSS) for key in keys]
    last, heights = ([(-1, -1)], [below]) if below else ([], [])

    def arranged(places: list[tuple[int, int]], columns: int) -> Arrangement:
        rows = 1 + max(row for row, _ in places)
        return Arrangement([*places, *last], [height] * rows + heights, columns, height * rows + below + 0.7)

    groups = [-1] * (len(keys) + len(last))
    figure = PanelFigure(arranged(wide, len(sizes)), arranged(narrow, _ACROSS), groups, x_label, y_label)
    return figure, dict(zip(keys, figure.panels, strict=False))
