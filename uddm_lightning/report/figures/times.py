"""Figures of the times of learning and of memorizing, and of the transition sizes over steps."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import SIZE_COLOURS, Drawing, Table, category
from uddm_lightning.report.figures.panel_figure import blocks
from uddm_lightning.report.figures.phases import spelled_time, step_axis
from uddm_lightning.report.figures.plotting import SIZE_STYLES, legend_line, size_axis
from uddm_lightning.report.formatting import count, decimal, visible, with_interval
from uddm_lightning.results.reference import METHODS, SIZES
from uddm_lightning.results.study import Study

NAMES = {"tau_gen": "\N{GREEK SMALL LETTER TAU}_gen", "tau_mem": "\N{GREEK SMALL LETTER TAU}_mem"}
_STYLES: Mapping[str, Any] = {"tau_gen": "--", "tau_mem": "-"}
_MARKERS = {"recovery": "o", "entropy": "D", "nelbo": "s"}
_COLOURS = {"recovery": 0, "entropy": 1, "nelbo": 2}  # of `category`
Over = Mapping[str, Any]


def times_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw tau_gen and tau_mem against N, with the step of the smallest test NELBO; None without any."""
    found = _over(study, verdict)
    if not any(over["times"] for over in found.values()):
        return None
    figure, [panels] = blocks(len(found), (1.0,), 4.6)
    drawing = Drawing(
        "times",
        "When models learn and when they memorize",
        figure,
        "tau_gen: the step at which recovery of test rows leaves coincidence by 0.02, or the test NELBO lies 0.1 nats "
        "below the unigram entropy. tau_mem: the step at which the gap of recovery leaves 0.02, or that of entropy or "
        "of the NELBO 0.05 nats. Dots are interpolated between measured steps, with 95 % intervals (with one seed: the "
        "measured steps around). Triangles: not reached by the last step (up) or reached by the first one (down). Grey "
        "crosses: the step of the smallest test NELBO. For continuous diffusion tau_gen is constant and tau_mem grows "
        "in proportion to N.",
        _times_table(found),
        remarks=list(_slopes(found)),
    )
    for axes, (name, over) in zip(panels, found.items(), strict=True):
        sizes = sorted({cell["train_size"] for cell in over["cells"]})
        axes.set_ylim(over["steps"][0] / 1.6, over["steps"][-1] * 1.6)
        for entry in over["times"]:
            _time(drawing, axes, over, entry, visible(name))
        best = [one for one in over["best"] if one["low"] and one["high"]]
        (crosses,) = axes.plot([one["train_size"] for one in best], [one["step"] for one in best], "x", color="0.45")
        drawing.mark(crosses, [f"{visible(name)}, {_least(one)}" for one in best])
        step_axis(axes, over["steps"])
        size_axis(axes, sizes)
        if len(found) > 1:
            axes.set_title(f"{visible(name)}, {study.parameters[name]:,} parameters")
    panels[0].set_ylabel("training steps")
    kinds = dict.fromkeys((one["time"], one["method"]) for over in found.values() for one in over["times"])
    handles: list[Artist] = [
        legend_line(
            f"{NAMES[time]} by {METHODS[method].partition(',')[0]}",
            category(_COLOURS[method]),
            _STYLES[time],
            1.4,
            _MARKERS[method],
        )
        for time, method in kinds
    ]
    drawing.legend(handles)
    return drawing


def _least(one: Mapping[str, Any]) -> str:
    """Return where the test NELBO of a size is smallest."""
    where = f"at step {one['step']:,}, the minimum between steps {one['low']:,} and {one['high']:,}"
    return f"N = {count(one['train_size'])}: smallest test NELBO {decimal(one['nelbo'])} {where}"


def _over(study: Study, verdict: Estimates) -> dict[str, Over]:
    return {name: over for name in study.backbones if (over := verdict.over_steps(name))}


def _time(drawing: Drawing, axes: Axes, over: Over, entry: Mapping[str, Any], name: str) -> None:
    method, steps = entry["method"], over["steps"]
    colour, words = category(_COLOURS[method]), f"{NAMES[entry['time']]} by {METHODS[method].partition(',')[0]}"
    known = [one for one in entry["sizes"] if one["value"] is not None]
    shift = 2.0 ** (0.07 * (list(_COLOURS).index(method) - 1))  # so that intervals of several methods are seen
    sizes, values = [shift * one["train_size"] for one in known], [one["value"] for one in known]
    marker = _MARKERS[method]
    (line,) = axes.plot(sizes, values, _STYLES[entry["time"]], marker=marker, color=colour, linewidth=1.3)
    drawing.mark(line, [f"{name}, N = {count(one['train_size'])}: {words} = {spelled_time(one)}" for one in known])
    for one in known:
        low, high = one["low"] or steps[0] / 1.6, one["high"] or steps[-1] * 1.6
        axes.vlines(shift * one["train_size"], low, high, colors=colour, alpha=0.55, linewidth=1.6)
    for one in entry["sizes"]:
        if one["value"] is None and (one["low"] is None) != (one["high"] is None):
            place, sign = (one["low"], "^") if one["high"] is None else (one["high"], "v")
            (mark,) = axes.plot(
                [shift * one["train_size"]], [place], sign, color=colour, markersize=5, fillstyle="none"
            )
            drawing.mark(
                mark, [f"{name}, N = {count(one['train_size'])}: {words} {spelled_time(one)}, {one['reason']}"]
            )


def _slopes(found: Mapping[str, Over]) -> Iterator[str]:
    """Return the slope of each time against N, or the reason why there is none."""
    for name, over in found.items():
        whose = f"{visible(name)}: " if len(found) > 1 else ""
        for entry in over["times"]:
            what = f"{whose}{NAMES[entry['time']]} by {METHODS[entry['method']].partition(',')[0]}"
            known = sum(one["value"] is not None for one in entry["sizes"])
            if slope := entry["slope"]:
                value = with_interval(slope["value"], slope["low"], slope["high"], 2)
                at = f"it is known at {known} of {len(entry['sizes'])} sizes"
                if bend := entry["bend"]:
                    ends = [f"{decimal(end['slope'], 2)} at N = {count(end['train_size'])}" for end in bend]
                    at += f"; one power does not fit: the exponent of a parabola in ln N is {' and '.join(ends)}"
                yield f"{what} grows as N to the power {value}; {at}."
            else:
                yield f"{what} has no slope: {entry['reason']}."


def _times_table(found: Mapping[str, Over]) -> Table:
    rows = []
    for name, over in found.items():
        best = {one["train_size"]: one for one in over["best"]}
        for entry in over["times"]:
            for one in entry["sizes"]:
                least = best.get(one["train_size"])
                rows.append(
                    [
                        visible(name),
                        f"{NAMES[entry['time']]} by {METHODS[entry['method']].partition(',')[0]}",
                        count(one["train_size"]),
                        spelled_time(one),
                        f"{least['step']:,}" if least else decimal(None),
                        decimal(least and least["nelbo"]),
                        f"{least['stop_step']:,}" if least and least["stop_step"] else decimal(None),
                        decimal(least and least["stop_nelbo"]),
                        visible(one["reason"] or ""),
                    ]
                )
    head = ["model", "time", "N", "steps", "smallest test NELBO at step", "that NELBO [nats]"]
    return Table([*head, "best step without memorization", "its NELBO [nats]", "why a number is missing"], rows)


def sizes_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw N_mem, N_half and N_gen against steps and against epochs; None if no step has any."""
    found = {
        name: over
        for name, over in _over(study, verdict).items()
        if any(one[size] for one in over["sizes"] for size in SIZES)
    }
    if not found:
        return None
    figure, panels = blocks(len(found), (1.0, 1.0), 5.6, share_x=False)
    drawing = Drawing(
        "sizes_over_steps",
        "Transition sizes over training steps",
        figure,
        "N_mem, N_half and N_gen by recovery, measured at each step, with 95 % intervals; above against steps, below "
        "against epochs, which are passes over the rows of that size. A size that the measured sizes do not bracket is "
        "left out. If tau_mem grows in proportion to N, N_mem grows in proportion to the steps, at equal epochs.",
        _sizes_table(found),
    )
    for column, (name, over) in enumerate(found.items()):
        sizes = sorted({cell["train_size"] for cell in over["cells"]})
        batch = next((c["epochs"] * c["train_size"] / c["step"] for c in over["cells"] if c["epochs"]), None)
        for row, per_epoch in enumerate((False, True)):
            axes = panels[row][column]
            if per_epoch and batch is None:
                axes.set_visible(False)
                continue
            for size in SIZES:
                known = [(one["step"], one[size]) for one in over["sizes"] if one[size]]
                at = [step * (batch or 1.0) / one["value"] if per_epoch else step for step, one in known]
                values = [one["value"] for _, one in known]
                line = axes.plot(at, values, SIZE_STYLES[size], marker="o", color=SIZE_COLOURS[size][0])[0]
                drawing.mark(
                    line, [f"{visible(name)}, step {step:,}: {SIZES[size]} = {_spelled(one)}" for step, one in known]
                )
                for place, (_, one) in zip(at, known, strict=True):
                    if one["low"] is not None and one["high"] is not None:
                        axes.vlines(
                            place, one["low"], one["high"], colors=SIZE_COLOURS[size][0], alpha=0.55, linewidth=1.6
                        )
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.set_yticks(sizes, [count(one) for one in sizes])
            axes.set_yticks([], minor=True)
            axes.set_ylim(sizes[0] / 1.3, sizes[-1] * 1.3)
            axes.set_xlabel("epochs" if per_epoch else "training steps")
            ticks = _powers(axes.get_xlim()) if per_epoch else over["steps"]
            if not per_epoch:
                axes.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.3)
            axes.set_xticks(ticks, [count(one) for one in ticks])
            axes.set_xticks([], minor=True)
        if len(found) > 1:
            panels[0][column].set_title(f"{visible(name)}, {study.parameters[name]:,} parameters")
    for first, *_ in panels:
        first.set_ylabel("training rows")
    drawing.legend([legend_line(SIZES[size], SIZE_COLOURS[size][0], SIZE_STYLES[size], 1.5, "o") for size in SIZES])
    return drawing


def _powers(ends: tuple[float, float]) -> list[float]:
    """Return up to 7 powers of 2 within a range, or its middle if it holds none."""
    first, last = math.ceil(math.log2(ends[0])), math.floor(math.log2(ends[1]))
    if last < first:
        return [math.sqrt(ends[0] * ends[1])]
    return [2.0**power for power in range(first, last + 1, (last - first) // 6 + 1)]


def _spelled(size: Mapping[str, float | None]) -> str:
    value, low, high = (size[key] for key in ("value", "low", "high"))
    assert value is not None
    return count(value) + (f" ({count(low)} to {count(high)})" if low is not None and high is not None else "")


def _sizes_table(found: Mapping[str, Over]) -> Table:
    rows = []
    for name, over in found.items():
        for one in over["sizes"]:
            cells = [_spelled(one[size]) if one[size] else decimal(None) for size in SIZES]
            whys = dict.fromkeys(one["reasons"].get(size, "") for size in SIZES if not one[size])
            rows.append([visible(name), f"{one['step']:,}", *cells, visible("; ".join(filter(None, whys)))])
    return Table(
        ["model", "step", *(f"{name} (95 % interval)" for name in SIZES.values()), "why a number is missing"], rows
    )
