"""Figures of restored sequences: densities of token entropy, and sentences in colour."""

import re
from collections.abc import Iterator
from itertools import groupby
from statistics import median, quantiles
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from uddm_lightning.report import sentences as states
from uddm_lightning.report.figures.drawing import BROKEN, FAINT, LOST, RECOVERED, TEXT, Drawing, Table, new_figure
from uddm_lightning.report.figures.panel_figure import small_panels
from uddm_lightning.report.figures.plotting import histogram_axis
from uddm_lightning.report.formatting import count, decimal, percent, visible
from uddm_lightning.report.sentences import CLEAN, Piece, Restored, Sentence, columns

MONO = "DejaVu Sans Mono"
FONT = 10.5  # points
CELL = 0.602 * FONT / 72  # inches for a character: its advance in this font
FEW = 5  # with fewer tokens, strokes are drawn instead of a density
_MARKS = {  # background, line below, ink and weight of a token, and its name in the legend
    states.CHANGED: (FAINT[0], "", TEXT[0], "normal", "corrupted"),
    states.RECOVERED: (RECOVERED[0], "-", RECOVERED[0], "normal", "recovered"),
    states.LOST: (LOST[0], ":", LOST[0], "bold", "not recovered"),
    states.BROKEN: (BROKEN[0], "--", BROKEN[0], "bold", "clean, then changed"),
}
_PLAIN = ("", "", TEXT[0], "normal", "")
_DENSITIES = (("recovered", RECOVERED[0], "-"), ("not recovered", LOST[0], "--"))
_PAGES = 3  # largest number of lines of a sentence in the picture; the page shows all


def densities_drawing(sequences: list[Restored], sizes: list[int], t: float, backbone: str) -> Drawing | None:
    """Draw densities of token entropy of recovered and unrecovered corrupted tokens, train and test, at three sizes."""
    groups = {
        (split, size): _entropies([s for s in sequences if (s["split"], s["train_size"], s["t"]) == (split, size, t)])
        for split in ("train", "test")
        for size in sizes
    }
    splits = [split for split in ("train", "test") if any(sum(map(len, groups[split, size])) for size in sizes)]
    if not splits:
        return None
    figure, panels = small_panels(splits, sizes, 1.5, "entropy [nats]")
    top = max(max(values, default=0.0) for pair in groups.values() for values in pair)
    bins = np.linspace(0.0, max(top * 1.02, 0.1), 19)
    rows = []
    for (split, size), axes in panels.items():
        for values, (name, colour, line) in zip(groups[split, size], _DENSITIES, strict=True):
            _density(axes, values, bins, colour, line)
            rows.append([split, count(size), name, *_quantiles(values)])
        right, wrong = map(len, groups[split, size])
        histogram_axis(axes, bins, split, size, f"{right:,} restored, {wrong:,} not")
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=to_rgba(colour, 0.3), edgecolor=colour, linestyle=line, label=name)
        for name, colour, line in _DENSITIES
    ]
    drawing = Drawing(
        "densities",
        "Entropy of restored and of lost tokens",
        figure,
        f"Corrupted tokens of {visible(backbone)} at t = {t:g}, from the sequences that the runs kept. "
        f"{_medians(list(groups.values()))}Each density has area 1; its height has no meaning across panels. Fewer "
        f"than {FEW} tokens are drawn as strokes.",
        Table(["split", "N", "tokens", "number", "lower quartile", "median", "upper quartile", "below 0.1 nats"], rows),
    )
    drawing.legend(handles)
    return drawing


def sentences_drawing(sentences: list[Sentence], backbone: str) -> Drawing:
    """Draw sentences corrupted and restored, token by token in colour."""
    width = 48
    blocks = [(sentence, columns(sentence, width)[:_PAGES]) for sentence in sentences]
    used = max(sum(len(piece.text) for piece in page[0]) for _, pages in blocks for page in pages)
    label = 0.85 * max(len(line.label) for sentence in sentences for line in sentence.lines) + 2
    height = sum(1.6 + sum(len(page) + 0.7 for page in pages) for _, pages in blocks) + 1.4
    figure = new_figure(max(CELL * (used + label) + 0.3, 5.0), 0.235 * height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    inches = figure.get_size_inches()
    axes.set(xlim=(-0.15 / CELL, (inches[0] - 0.15) / CELL), ylim=(height, 0.0))
    axes.axis("off")
    y = 0.9
    for sentence, pages in blocks:
        title = f"A {sentence.split} row at t = {sentence.t:g}"
        title += ", its beginning" if len(columns(sentence, width)) > _PAGES else ""
        axes.text(0, y, title, va="center", fontsize=9.5)
        y += 1.3
        for page in pages:
            for line, pieces in zip(sentence.lines, page, strict=True):
                axes.text(0, y, line.label, va="center", fontsize=8.5, color=TEXT[0])
                _draw_line(axes, label, y, pieces)
                y += 1.0
            y += 0.7
        y += 0.3
    _legend(axes, y)
    rows = [
        [sentence.split, f"{sentence.t:g}", line.label, "".join(piece.text for piece in line.pieces).strip()]
        for sentence in sentences
        for line in sentence.lines
    ]
    return Drawing(
        "sentences",
        "The sentence that comes back",
        figure,
        f"The same row, restored by {visible(backbone)} after training on different numbers of rows.",
        Table(["split", "t", "line", "text"], rows),
        is_narrow=False,
    )


def _draw_line(axes: Axes, x: float, y: float, pieces: list[Piece]) -> None:
    for piece in _joined(pieces):
        text = _drawable(piece.text)
        colour, dash, ink, weight, _ = _MARKS.get(piece.state, _PLAIN)
        wide = len(text)
        if colour:
            first, last = (
                (x + len(text) - len(text.lstrip()), x + len(text.rstrip())) if text.strip() else (x, x + wide)
            )
            axes.add_patch(Rectangle((first, y - 0.46), last - first, 0.92, facecolor=colour, alpha=0.2, linewidth=0))
            if dash:
                axes.plot([first + 0.06, last - 0.06], [y + 0.43] * 2, dash, color=colour, linewidth=1.3)
        if text.strip():
            word: dict[str, Any] = {"family": MONO, "fontsize": FONT, "color": ink, "fontweight": weight}
            start = x + len(text) - len(text.lstrip())
            axes.text(start + len(text.strip()) / 2, y, text.strip(), ha="center", va="center_baseline", **word)
        x += wide


def _joined(pieces: list[Piece]) -> Iterator[Piece]:
    """Yield consecutive clean pieces by words, all others one by one."""
    for clean, run in groupby(pieces, key=lambda piece: piece.state == CLEAN):
        if clean:
            text = "".join(piece.text for piece in run)
            yield from (Piece(word, CLEAN) for word in re.findall(r"\s+|\S+", text))
        else:
            yield from run


def _legend(axes: Axes, y: float) -> None:
    x = 0.0
    for state, (*_, words) in _MARKS.items():
        _draw_line(axes, x, y, [Piece("a", state)])
        axes.text(x + 1.5, y, words, va="center", fontsize=8.5)
        x += 3.6 + 0.82 * len(words)


def _drawable(text: str) -> str:
    """Return the text with a box for every character that the font lacks, for which drawing would warn."""
    font = get_font(findfont(FontProperties(family=MONO)))
    return "".join(c if font.get_char_index(ord(c)) else "▯" for c in text)


def _entropies(sequences: list[Restored]) -> tuple[list[float], list[float]]:
    """Return the entropies of recovered and of unrecovered corrupted tokens, in nats."""
    right: list[float] = []
    wrong: list[float] = []
    for sequence in sequences:
        if sequence.get("entropy"):
            for x0, xt, xhat, value in zip(*(sequence[n] for n in ("x0", "xt", "xhat", "entropy")), strict=True):
                if xt != x0:
                    (right if xhat == x0 else wrong).append(float(value))
    return right, wrong


def _density(axes: Axes, values: list[float], bins: "np.typing.NDArray[np.float64]", colour: str, line: str) -> None:
    if len(values) >= FEW:
        fill = to_rgba(colour, 0.22)
        edge: dict[str, Any] = {"edgecolor": colour, "linestyle": line, "linewidth": 1.3}
        axes.hist(values, bins=list(bins), density=True, histtype="stepfilled", facecolor=fill, **edge)
    else:
        for value in values:
            axes.axvline(value, ymax=0.25, color=colour, linewidth=1.3, linestyle=line)


def _medians(groups: list[tuple[list[float], list[float]]]) -> str:
    """Return in how many panels recovered tokens have the lower entropy."""
    both = [(median(right), median(wrong)) for right, wrong in groups if right and wrong]
    lower = sum(right < wrong for right, wrong in both)
    text = f"In {lower} of {len(both)} panels that hold both, the median entropy of recovered tokens is the lower one. "
    return text if both else ""


def _quantiles(values: list[float]) -> list[str]:
    if not values:
        return ["0", *[decimal(None)] * 4]
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    share = sum(value < 0.1 for value in values) / len(values)
    return [f"{len(values):,}", decimal(low), decimal(median(values)), decimal(high), percent(share)]
