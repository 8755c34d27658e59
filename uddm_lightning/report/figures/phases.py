"""Figure of the regimes over training steps and training rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import REGIME_COLOURS, TEXT, Drawing, Table
from uddm_lightning.report.figures.panel_figure import blocks
from uddm_lightning.report.figures.plotting import legend_line, size_axis
from uddm_lightning.report.formatting import count, decimal, visible, with_interval
from uddm_lightning.results.reference import TOLERANCE, TOLERANCE_NELBO
from uddm_lightning.results.study import Study
from uddm_lightning.transition.entropy_regime import VANISHED

RULES = {"regime": "recovery", "entropy_regime": "entropy"}
_INSET = 2**0.015  # factor between a cell and its edge: cells that touch are drawn with seams
STYLES = {
    "tau_mem": ("o-", "memorization begins, \N{GREEK SMALL LETTER TAU}_mem"),
    "tau_gen": ("s--", "learning begins, \N{GREEK SMALL LETTER TAU}_gen"),
}


def phases_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw the regime of every size at every step, by recovery and by entropy; None without measurements over steps."""
    found = {name: over for name in study.backbones if (over := verdict.over_steps(name))}
    if not found:
        return None
    figure, panels = blocks(len(found), (1.0, 1.0), 6.0)
    drawing = Drawing(
        "phases",
        "Regimes over training steps and training rows",
        figure,
        f"The regime of each model at t = {next(iter(found.values()))['t']:g}, above by recovery, below by entropy. By "
        f"entropy: memorizing, entropy on train rows of at most {VANISHED:g} nats, and that on test rows surely larger "
        f"by more than {TOLERANCE_NELBO:g}; in transition, surely larger by more than {TOLERANCE_NELBO:g}; not learned "
        "yet, entropy on train rows or NELBO on test rows not 0.1 nats below the unigram entropy; generalizing, the "
        f"whole interval of the difference inside {TOLERANCE_NELBO:g}; empty: undetermined. Lines: the steps at which "
        f"recovery of test rows leaves coincidence (dashed) and the gap of recovery leaves {TOLERANCE:g} (solid), "
        "interpolated between measured steps. Each model is a step of one training with the learning rates of that "
        "training.",
        _table(found),
    )
    for column, (name, over) in enumerate(found.items()):
        for row, key in enumerate(RULES):
            _cells(panels[row][column], over, key)
            _times(drawing, panels[row][column], over, visible(name))
        if len(found) > 1:
            panels[0][column].set_title(f"{visible(name)}, {study.parameters[name]:,} parameters")
        panels[0][column].set_xlabel("")
        panels[0][column].tick_params(labelbottom=False)
    for row, rule in enumerate(RULES.values()):
        panels[row][0].set_ylabel(f"training steps\nregime by {rule}")
    handles: list[Artist] = [Patch(color=pair[0], alpha=0.75, label=name) for name, pair in REGIME_COLOURS.items()]
    handles += [legend_line(words, TEXT[0], style[1:], 1.4, style[0]) for style, words in STYLES.values()]
    drawing.legend(handles)
    return drawing


def _edges(values: list[int]) -> list[float]:
    """Return the edges of cells around ascending values, half way between them in their logarithms."""
    logs = np.log2(np.array(values, float))
    middle = (logs[1:] + logs[:-1]) / 2
    first, last = (middle[0] - logs[0], logs[-1] - middle[-1]) if len(middle) else (0.5, 0.5)
    return [float(edge) for edge in 2 ** np.concatenate([[logs[0] - first], middle, [logs[-1] + last]])]


def step_axis(axes: Axes, steps: list[int]) -> None:
    """Set a logarithmic y axis with the measured steps as ticks."""
    axes.set_yscale("log", base=2)
    axes.set_yticks(steps, [count(step) for step in steps])
    axes.set_yticks([], minor=True)


def _cells(axes: Axes, over: Mapping[str, Any], key: str) -> None:
    sizes = sorted({cell["train_size"] for cell in over["cells"]})
    steps = over["steps"]
    wide, high = _edges(sizes), _edges(steps)
    axes.set_yscale("log", base=2)
    size_axis(axes, sizes)
    for cell in over["cells"]:
        if (pair := REGIME_COLOURS.get(cell[key])) is None:
            continue
        i, j = sizes.index(cell["train_size"]), steps.index(cell["step"])
        left, right, bottom, top = wide[i] * _INSET, wide[i + 1] / _INSET, high[j] * _INSET, high[j + 1] / _INSET
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, color=pair[0], alpha=0.75, linewidth=0))
    axes.set_xlim(wide[0], wide[-1])
    axes.set_ylim(high[0], high[-1])
    step_axis(axes, steps)
    axes.grid(visible=False)


def _times(drawing: Drawing, axes: Axes, over: Mapping[str, Any], name: str) -> None:
    """Draw tau_mem and tau_gen by recovery with their intervals, as far as they lie between measured steps."""
    for entry in over["times"]:
        if entry["method"] != "recovery":
            continue
        style, words = STYLES[entry["time"]]
        known = [one for one in entry["sizes"] if one["value"] is not None]
        sizes, values = [one["train_size"] for one in known], [one["value"] for one in known]
        (line,) = axes.plot(sizes, values, style, color=TEXT[0], linewidth=1.4, markersize=4)
        drawing.mark(line, [f"{name}, N = {count(one['train_size'])}: {words} = {spelled_time(one)}" for one in known])
        low, high = axes.get_ylim()
        ends = [(one["train_size"], one["low"] or low, one["high"] or high) for one in known]
        if ends:
            at, lows, highs = zip(*ends, strict=True)
            axes.vlines(list(at), list(lows), list(highs), colors=TEXT[0], alpha=0.55, linewidth=1.4)


def spelled_time(entry: Mapping[str, Any]) -> str:
    """Return a time in steps with its interval, or the side on which it lies."""
    value, low, high = entry["value"], entry["low"], entry["high"]
    if value is None:
        return (
            f"above {count(low)}" if low and not high else f"at most {count(high)}" if high and not low else "unknown"
        )
    return f"{count(value)} ({count(low) if low else 'unknown'} to {count(high) if high else 'unknown'})"


def _table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for name, over in found.items():
        for cell in over["cells"]:
            values = [_interval(cell[key]) for key in ("recovery_train", "recovery_test", "recovery_gap")]
            values += [_interval(cell[f"entropy_{split}"]) for split in ("train", "test", "samples")]
            about = [visible(name), f"{cell['step']:,}", count(cell["train_size"]), decimal(cell["epochs"], 1)]
            rows.append([*about, cell["regime"], cell["entropy_regime"], *values])
    head = ["model", "step", "N", "epochs", "by recovery", "by entropy", "train recovery", "test recovery", "gap"]
    return Table([*head, *(f"entropy [nats], {split}" for split in ("train", "test", "own samples"))], rows)


def _interval(entry: Mapping[str, float | None] | None) -> str:
    return with_interval(entry["value"], entry["low"], entry["high"]) if entry else decimal(None)
