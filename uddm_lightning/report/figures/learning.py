"""Figure of the NELBO and of the weight norm over training steps."""

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures.drawing import TEXT, Drawing, Table, ramp
from uddm_lightning.report.figures.panel_figure import blocks
from uddm_lightning.report.figures.plotting import SPLIT_STYLES, legend_line
from uddm_lightning.report.formatting import count, decimal, visible, with_interval
from uddm_lightning.results.study import Study

Over = Mapping[str, Any]
EXACT = "0.45"  # colour of the exact model of the text
_VALUES = ("nelbo_test", "nelbo_train", "nelbo_test_minus_exact", "recovery_test_minus_exact")


def learning_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw the NELBO and the weight norm against the step, a colour for each size; None without NELBOs over steps."""
    found = {
        name: over
        for name in study.backbones
        if (over := verdict.over_steps(name)) and any(cell["nelbo_test"] for cell in over["cells"])
    }
    if not found:
        return None
    has_norm = any(cell["weight_norm"] for over in found.values() for cell in over["cells"])
    figure, panels = blocks(len(found), [2.2, 1.0][: 1 + has_norm], 6.2 if has_norm else 4.2)
    for axes in panels[0] if has_norm else ():
        axes.tick_params(labelbottom=False)
    exact = any(cell.get("nelbo_test_minus_exact") for over in found.values() for cell in over["cells"])
    drawing = Drawing(
        "learning",
        "The NELBO over training steps",
        figure,
        "The NELBO on test rows (solid) and train rows (dashed) in nats per token, a colour for each number of "
        "training rows; crosses mark the smallest test NELBO. "
        + ("Grey: the exact model of the text. " if exact else "")
        + ("Below: the Euclidean norm of all trainable weights. " if has_norm else "")
        + "All sizes have the same learning rates at a step.",
        _table(found),
        remarks=list(_remarks(found)) if exact else [],
    )
    levels: list[float] = []
    for column, (name, over) in enumerate(found.items()):
        sizes = sorted({cell["train_size"] for cell in over["cells"]})
        for index, size in enumerate(sizes):
            mine = [cell for cell in over["cells"] if cell["train_size"] == size]
            colour = ramp(index, len(sizes))[0]
            for split in ("test", "train"):
                style = SPLIT_STYLES["train" if split == "test" else "test"]
                _curve(
                    drawing,
                    panels[0][column],
                    mine,
                    f"nelbo_{split}",
                    colour,
                    style,
                    f"{visible(name)}, N = {count(size)}, NELBO, {split}",
                )
            best = next((one for one in over["best"] if one["train_size"] == size), None)
            if best:
                panels[0][column].plot([best["step"]], [best["nelbo"]], "x", color=colour, markersize=7)
            if has_norm:
                _curve(
                    drawing,
                    panels[1][column],
                    mine,
                    "weight_norm",
                    colour,
                    "-",
                    f"{visible(name)}, N = {count(size)}, weight norm",
                )
        for cell in over["cells"][-1:]:  # at the last step and the largest size the loss varies least
            if (excess := cell.get("nelbo_test_minus_exact")) and cell["nelbo_test"]:
                levels.append(cell["nelbo_test"]["value"] - excess["value"])
                panels[0][column].axhline(levels[-1], color=EXACT, linewidth=1.2)
        lowest = panels[-1][column]
        lowest.set_xscale("log", base=2)
        lowest.set_xticks(over["steps"], [count(step) for step in over["steps"]])
        lowest.set_xticks([], minor=True)
        lowest.set_xlabel("training steps")
        if len(found) > 1:
            panels[0][column].set_title(f"{visible(name)}, {study.parameters[name]:,} parameters")
    if levels:
        low, high = panels[0][0].get_ylim()  # of all panels, which share this axis
        panels[0][0].set_ylim(min(low, min(levels) - 0.04 * (high - min(levels))), high)  # not on the frame
    panels[0][0].set_ylabel("NELBO [nats]")
    if has_norm:
        panels[1][0].set_ylabel("weight norm")
    sizes = sorted({cell["train_size"] for over in found.values() for cell in over["cells"]})
    handles: list[Artist] = [
        legend_line(f"N = {count(size)}", ramp(index, len(sizes))[0], width=2.2) for index, size in enumerate(sizes)
    ]
    handles += [
        legend_line(name, TEXT[0], SPLIT_STYLES[style], 1.4) for name, style in (("test", "train"), ("train", "test"))
    ]
    handles += [legend_line("exact model of the text", EXACT, "-", 1.2)] if exact else []
    drawing.legend(handles)
    return drawing


def _curve(drawing: Drawing, axes: Axes, cells: list[Over], key: str, colour: str, style: str, name: str) -> None:
    """Draw a quantity of the cells of one size against the step."""
    known = [(cell["step"], cell[key]) for cell in cells if cell[key] is not None]
    if not known:
        return
    values = [one["value"] if isinstance(one, Mapping) else one for _, one in known]
    (line,) = axes.plot(
        [step for step, _ in known], values, style, color=colour, marker="o", markersize=3, linewidth=1.3
    )
    drawing.mark(line, [f"{name}, step {step:,}: {_spelled(one)}" for step, one in known])


def _remarks(found: Mapping[str, Over]) -> Iterator[str]:
    """Return how far the largest size is from the exact model at each step."""
    for name, over in found.items():
        size = max(cell["train_size"] for cell in over["cells"])
        mine = [cell for cell in over["cells"] if cell["train_size"] == size and cell.get("nelbo_test_minus_exact")]
        if mine:
            steps = "; ".join(f"step {cell['step']:,}: {_spelled(cell['nelbo_test_minus_exact'])}" for cell in mine)
            whose = f"{visible(name)}, " if len(found) > 1 else ""
            yield f"{whose}N = {count(size)}, test NELBO minus that of the exact model of the text, in nats: {steps}."


def _spelled(value: Any) -> str:
    return with_interval(value["value"], value["low"], value["high"]) if isinstance(value, Mapping) else decimal(value)


def _table(found: Mapping[str, Over]) -> Table:
    keys = [key for key in _VALUES if any(key in cell for over in found.values() for cell in over["cells"])]
    rows = []
    for name, over in found.items():
        for cell in over["cells"]:
            values = [_spelled(cell.get(key)) for key in keys]
            about = [visible(name), f"{cell['step']:,}", count(cell["train_size"]), decimal(cell["epochs"], 1)]
            rows.append([*about, *values, decimal(cell["weight_norm"], 2)])
    heads = {
        "nelbo_test": "test NELBO [nats]",
        "nelbo_train": "train NELBO [nats]",
        "nelbo_test_minus_exact": "test NELBO minus exact [nats]",
        "recovery_test_minus_exact": "test recovery minus exact",
    }
    return Table(["model", "step", "N", "epochs", *(heads[key] for key in keys), "weight norm"], rows)
