"""An animated picture of the interactive figure: a slider over N, and a row restored at each size.

    python -m uddm_lightning.report.figures.animation DIR FILE.png

DIR is the folder of a sweep with its tables, such as that of `uddm demo`.
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from uddm_lightning.core.errors import InputError
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import (
    BROKEN,
    FAINT,
    LOST,
    RECOVERED,
    REGIME_COLOURS,
    TEXT,
    TWO_COLUMNS,
    new_figure,
    style,
)
from uddm_lightning.report.formatting import count
from uddm_lightning.report.restorations import SPLITS, restorations
from uddm_lightning.report.sentences import with_readable_texts
from uddm_lightning.results.parquet import read_parquet
from uddm_lightning.results.study import Study
from uddm_lightning.results.tables import read_table

T = 0.25  # corruption time, or the nearest one
SECONDS = 2.2  # of a size
MONO = "DejaVu Sans Mono"
TITLES = {"train": "a training row", "test": "an unseen row"}
MARKS = {
    "corrupted": (FAINT[0], "normal"),
    "restored": (RECOVERED[0], "bold"),
    "not restored": (LOST[0], "bold"),
    "clean, then changed": (BROKEN[0], "bold"),
}


def write_animation(folder: Path, path: Path) -> None:
    """Write an animated PNG of the restored rows of the first backbone of a sweep, one frame for each size.

    Args:
        folder: folder with measurements.csv, sequences.parquet and transition.json.
        path: file to write.

    Raises:
        InputError: the folder holds no restored sequences.
    """
    study = Study(read_table(folder / "measurements.csv"))
    name = study.backbones[0]
    kept = study.rows_behind(read_parquet(folder / "sequences.parquet"), "recovery", name)
    if not kept:
        raise InputError(f"`{folder}` holds no restored sequences; give the folder of a sweep or of `uddm demo`.")
    data = restorations({name: with_readable_texts(kept)})
    verdict = Estimates(json.loads((folder / "transition.json").read_text(encoding="utf-8")))
    regimes = {one.size: one.regime.name for one in verdict.regimes(name)}
    [model] = data["models"]
    with style():
        frames = [_frame(data["texts"], model, place, regimes) for place in range(len(model["sizes"]))]
    first, *others = (Image.open(io.BytesIO(frame)).convert("RGB").quantize(64).convert("RGB") for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=int(1000 * SECONDS), loop=0, optimize=True)


def _frame(texts: Sequence[str], model: Mapping[str, Any], place: int, regimes: Mapping[int, str]) -> bytes:
    """Return the picture of one size as PNG."""
    sizes, times = model["sizes"], model["times"]
    time = min(range(len(times)), key=lambda i: abs(times[i] - T))
    rows = [(split, model["rows"][split][0]) for split in SPLITS if model["rows"][split]]
    length = max(len(row["x0"]) for _, row in rows)
    figure = new_figure(TWO_COLUMNS, 3.1)
    axes = figure.add_subplot()
    axes.set(xlim=(-11.5, length + 0.5), ylim=(12.2, -0.9))
    axes.axis("off")
    _slider(axes, sizes, place, length, regimes.get(sizes[place], ""))
    y = 3.0
    for split, row in rows:
        axes.text(-11.5, y, TITLES[split], va="center", fontweight="bold")
        y += 1.1
        cell = row["restored"].get(f"{time},{place}")
        xt = _changed(row["x0"], row["noised"].get(str(time), []))
        lines = {"original": row["x0"], "corrupted": xt, "restored": _changed(xt, cell[0]) if cell else []}
        for label, ids in lines.items():
            axes.text(-11.5, y, label, va="center", fontsize=8.5)
            _line(axes, y, texts, row["x0"], xt, ids, label)
            y += 1.0
        y += 0.35
    _key(axes, times[time])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _slider(axes: Axes, sizes: Sequence[int], place: int, length: int, regime: str) -> None:
    """Draw the slider over N, and the regime of the size."""
    colour = REGIME_COLOURS.get(regime, TEXT)[0]
    left, right = 15.0, length - 2.5
    places = [left + (right - left) * i / max(len(sizes) - 1, 1) for i in range(len(sizes))]
    axes.text(-11.5, 0.3, f"trained on {count(sizes[place])} rows", va="center", fontsize=11, fontweight="bold")
    axes.text(-11.5, 1.4, regime, va="center", fontsize=9.5, color=colour)
    axes.plot([left, right], [0.3, 0.3], color=FAINT[0], linewidth=2, solid_capstyle="round")
    axes.plot(places, [0.3] * len(sizes), "o", color=FAINT[0], markersize=4)
    axes.plot([places[place]], [0.3], "o", color=colour, markersize=11)
    for x, size in zip(places, sizes, strict=True):
        axes.text(x, 1.4, count(size), ha="center", va="center", fontsize=8.5)


def _line(
    axes: Axes, y: float, texts: Sequence[str], x0: Sequence[int], xt: Sequence[int], ids: Sequence[int], label: str
) -> None:
    """Draw a row, token by token."""
    for place, token in enumerate(ids):
        state = ""
        if label == "corrupted" and token != x0[place]:
            state = "corrupted"
        elif label == "restored" and xt[place] != x0[place]:
            state = "restored" if token == x0[place] else "not restored"
        elif label == "restored" and token != x0[place]:
            state = "clean, then changed"
        colour, weight = MARKS.get(state, (TEXT[0], "normal"))
        if state:
            axes.add_patch(Rectangle((place, y - 0.48), 1, 0.96, facecolor=colour, alpha=0.2, linewidth=0))
        if text := texts[token].strip():
            word: dict[str, Any] = {"family": MONO, "fontsize": 8.5, "fontweight": weight}
            ink = TEXT[0] if state == "corrupted" else colour
            axes.text(place + 0.5, y, text[:1], ha="center", va="center_baseline", color=ink, **word)


def _key(axes: Axes, t: float) -> None:
    x = -11.5
    for state, (colour, _) in MARKS.items():
        axes.add_patch(Rectangle((x, 11.3), 1, 0.9, facecolor=colour, alpha=0.35, linewidth=0))
        axes.text(x + 1.4, 11.75, state, va="center", fontsize=8.5)
        x += 4.0 + 0.95 * len(state)
    axes.text(x + 1.0, 11.75, f"corruption time t = {t:g}", va="center", fontsize=8.5)


def _changed(ids: Sequence[int], changes: Sequence[int]) -> list[int]:
    """Return the row with pairs (position, token) put in."""
    copy = list(ids)
    for place, token in zip(changes[::2], changes[1::2], strict=True):
        copy[place] = token
    return copy


if __name__ == "__main__":
    write_animation(Path(sys.argv[1]), Path(sys.argv[2]))
