"""Figure of times and transition sizes against the number of parameters."""

from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import SIZE_COLOURS, WIDTH, Drawing, Table, new_figure, ramp
from uddm_lightning.report.figures.phases import spelled_time, step_axis
from uddm_lightning.report.figures.plotting import SIZE_STYLES, legend_line
from uddm_lightning.report.formatting import count, visible
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study


def parameters_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw tau_mem at each size and the sizes at the last step against parameters; None with fewer than two models."""
    found = {name: over for name in study.backbones if (over := verdict.over_steps(name))}
    if len({study.parameters[name] for name in found}) < 2:
        return None
    figure = new_figure(WIDTH, 5.6)
    above, below = figure.subplots(2, 1, sharex=True)
    drawing = Drawing(
        "parameters",
        "Times and sizes against the number of parameters",
        figure,
        "Above: tau_mem by recovery, a colour for each number of training rows. Below: N_mem, N_half and N_gen by "
        "recovery at the last step. Both with 95 % intervals; what the data do not support is left out.",
        Table(["model", "parameters", "quantity", "value (95 % interval)"], []),
        is_narrow=True,
    )
    sizes = sorted({cell["train_size"] for over in found.values() for cell in over["cells"]})
    steps = sorted({step for over in found.values() for step in over["steps"]})
    times = {name: _tau_mem(over) for name, over in found.items()}
    for index, size in enumerate(sizes):
        points = [(name, times[name][size]) for name in found if size in times[name]]
        _line(drawing, study, above, points, f"tau_mem at N = {count(size)}", ramp(index, len(sizes))[0], "-")
    for size, style in SIZE_STYLES.items():
        points = [(name, over["sizes"][-1][size]) for name, over in found.items() if over["sizes"][-1][size]]
        _line(drawing, study, below, points, SIZES[size], SIZE_COLOURS[size][0], style)
    above.set_ylim(steps[0] / 1.6, steps[-1] * 1.6)
    step_axis(above, steps)
    above.set_ylabel("training steps")
    below.set(xscale="log", xlabel="parameters", ylabel="training rows")
    below.set_ylim(sizes[0] / 1.3, sizes[-1] * 1.3)
    step_axis(below, sizes)
    parameters = sorted({study.parameters[name] for name in found})
    below.set_xticks(parameters, [count(one) for one in parameters])
    below.set_xticks([], minor=True)
    handles: list[Artist] = [
        legend_line(f"N = {count(size)}", ramp(index, len(sizes))[0], width=2.2) for index, size in enumerate(sizes)
    ]
    handles += [legend_line(SIZES[size], SIZE_COLOURS[size][0], style, 1.5) for size, style in SIZE_STYLES.items()]
    drawing.legend(handles)
    return drawing


def _tau_mem(over: Any) -> dict[int, Any]:
    """Return the known times of memorizing by recovery, by size."""
    entries = [one for one in over["times"] if (one["time"], one["method"]) == ("tau_mem", "recovery")]
    return {one["train_size"]: one for entry in entries for one in entry["sizes"] if one["value"] is not None}


def _line(
    drawing: Drawing, study: Study, axes: Axes, points: list[tuple[str, Any]], what: str, colour: str, style: str
) -> None:
    """Draw one quantity of all models against their parameters, and add it to the table."""
    if not points:
        return
    at = [study.parameters[name] for name, _ in points]
    line = axes.plot(at, [one["value"] for _, one in points], style, marker="o", color=colour, linewidth=1.3)[0]
    drawing.mark(line, [f"{visible(name)}, {what}: {spelled_time(one)}" for name, one in points])
    for place, (name, one) in zip(at, points, strict=True):
        if one["low"] is not None and one["high"] is not None:
            axes.vlines(place, one["low"], one["high"], colors=colour, alpha=0.55, linewidth=1.6)
        drawing.table.rows.append([visible(name), f"{study.parameters[name]:,}", what, spelled_time(one)])
