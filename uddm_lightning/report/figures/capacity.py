"""Figure of memorized bits per parameter, and of the raw text of the training rows beside them."""

from dataclasses import replace

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from uddm_lightning.report.estimates import Crossing, Estimates
from uddm_lightning.report.figures.drawing import FAINT, TEXT, WIDTH, Drawing, Table, category, new_figure
from uddm_lightning.report.figures.plotting import by_size, curve, legend_line, size_axis, spelled
from uddm_lightning.report.formatting import count, decimal, listed, visible, with_interval
from uddm_lightning.results.study import Mean, Study
from uddm_lightning.transition.capacity import Capacity, capacity, disagreements

GPT_BITS = 3.6  # per parameter, Morris et al. 2025, arXiv 2505.24832


def capacity_drawing(study: Study, verdict: Estimates) -> Drawing | None:
    """Draw memorized bits per parameter against N, with the raw text of the training rows and N_half.

    Return None if the length of a row is not known, or neither N_half nor memorized bits are.
    """
    rows_bits = {name: bits for name in study.backbones if (bits := _row_bits(study, name))}
    memorized = {name: memorized_means(study, name, per_parameter=True) for name in rows_bits}
    halves = _halves(study, verdict)
    if not any(memorized.values()) and not halves:
        return None
    figure = new_figure(WIDTH, 4.0)
    axes = figure.subplots()
    drawing = Drawing(
        "capacity",
        "Bits per parameter",
        figure,
        "Dotted: the raw text of all training rows, tokens times log2 of the number of ids, per parameter of the "
        f"model. Grey: {GPT_BITS} bits per parameter, the capacity of GPTs by Morris et al. 2025."
        + (
            " Solid: bits memorized, the NELBO of the exact model of the text minus that of this model, summed over "
            "all training rows, with 95 % intervals. The NELBO is a bound, so more may be memorized."
            if any(memorized.values())
            else ""
        )
        + (" Circle: raw text at N_half, with its 95 % interval." if halves else ""),
        _table(study, rows_bits),
        remarks=capacity_sentences(study, verdict),
        is_narrow=True,
    )
    handles: list[Line2D] = []
    for index, name in enumerate(rows_bits):
        colour, bits, means = category(index), rows_bits[name] / study.parameters[name], memorized[name]
        axes.plot(study.sizes, [size * bits for size in study.sizes], ":", color=colour, linewidth=1.2)
        positive = [replace(mean, low=max(mean.low or 0.0, mean.value / 30)) for mean in means if mean.value > 0]
        curve(drawing, axes, positive, f"{visible(name)}, memorized bits per parameter", colour, "-")
        if half := verdict.half(name, "recovery", study.reference):
            (dot,) = axes.plot([half.value], [half.value * bits], "o", color=colour, markersize=7, fillstyle="none")
            drawing.mark(dot, [f"{visible(name)}, raw text of N_half = {half.spelled}: {_bits(half, bits)}"])
            if half.low is not None and half.high is not None:
                axes.hlines(half.value * bits, half.low, half.high, colors=colour, linewidth=2.2, alpha=0.55)
        label = f"{visible(name)}, {study.parameters[name]:,} parameters"
        handles.append(legend_line(label, colour, "-" if means else ":", width=2.4))
    axes.axhline(GPT_BITS, color=FAINT[0], linewidth=1.0, linestyle="--", gid="gpt")
    size_axis(axes, study.sizes)
    axes.set(yscale="log", ylabel="bits per parameter")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    drawing.legend([*handles, legend_line("raw text", TEXT[0], ":"), legend_line(f"GPTs, {GPT_BITS}", FAINT[0], "--")])
    return drawing


def memorized_means(study: Study, backbone: str, per_parameter: bool = False) -> list[Mean]:
    """Return the bits memorized of all training rows, by size; empty if the exact model of the text is not known.

    Args:
        study: the measurements.
        backbone: name of the model.
        per_parameter: divide by the number of parameters.
    """
    divisor = study.parameters[backbone] if per_parameter else 1
    return [_times(mean, mean.size / divisor) for mean in study.column("memorized_bits", "nelbo", backbone, "train")]


def capacity_sentences(study: Study, verdict: Estimates) -> list[str]:
    """Return where N_half lies below the capacity of a model, the measured capacities, and whether they agree."""
    found, lines = _capacities(study), []
    for name, half in _halves(study, verdict).items():
        bits = (_row_bits(study, name) or 0.0) / study.parameters[name]
        whose = f"{visible(name)}: the" if len(study.backbones) > 1 else "The"
        size = f"{whose} raw text of N_half = {count(half.value)} rows has {_bits(half, bits)} bits per parameter. "
        level = least = GPT_BITS
        named = f"the {GPT_BITS} bits per parameter of GPTs (Morris et al. 2025)"
        if name in found:
            shares = found[name].per(study.parameters[name])
            level, least, named = shares.value, shares.low, "the most bits that it memorized"
        if (half.high or half.value) * bits < least:
            lines.append(
                f"{size}That is {level / (half.value * bits):.2g} times less than {named}. If this model can store "
                "that many, N_half is set by its training and not by its capacity."
            )
        else:
            lines.append(f"{size}That is not surely less than {named}: its capacity may set N_half.")
    for name, most in found.items():
        shares = most.per(study.parameters[name])
        plateau = f"no plateau: {most.reason}" if most.reason else "a plateau over sizes"
        lines.append(
            f"{visible(name)}: at most {count(most.bits.value)} bits were memorized, at N = {count(most.size)}; "
            f"{_significant(*shares)} bits per parameter after {_steps(study, name)} steps, {plateau}."
        )
    if len(found) > 1:
        shares_of = {name: most.per(study.parameters[name]) for name, most in found.items()}
        pairs = [f"{visible(one)} and {visible(two)}" for one, two in disagreements(shares_of)]
        if pairs:
            lines.append(
                f"The bits per parameter are not within each other's intervals for {listed(pairs)}. Models need not "
                "have reached their capacity after these steps: longer training may raise the bits."
            )
        else:
            lines.append("The bits per parameter of all models are within each other's intervals.")
    return lines


def _capacities(study: Study) -> dict[str, Capacity]:
    found = {}
    for name in study.backbones:
        known = {
            mean.size: (mean.value, mean.low, mean.high)
            for mean in memorized_means(study, name)
            if mean.low is not None and mean.high is not None
        }
        if most := capacity(list(known), list(known.values())):
            found[name] = most
    return found


def _halves(study: Study, verdict: Estimates) -> dict[str, Crossing]:
    """Return N_half by recovery of each model that has one, and whose row length is known."""
    found = {name: verdict.half(name, "recovery", study.reference) for name in study.backbones}
    return {name: half for name, half in found.items() if half and _row_bits(study, name)}


def _row_bits(study: Study, backbone: str) -> float | None:
    """Return the bits of a training row as raw text; None if they were not recorded."""
    points = study.points("raw_bits", "nelbo", backbone, "train")
    return points[0].value if points else None


def _bits(half: Crossing, bits: float) -> str:
    """Return the bits per parameter of a size with its interval."""
    low, high = (None if end is None else end * bits for end in (half.low, half.high))
    return _significant(half.value * bits, low, high)


def _steps(study: Study, backbone: str) -> str:
    return f"{max(int(row['step']) for row in study.rows if row['backbone'] == backbone):,}"


def _significant(value: float, low: float | None, high: float | None) -> str:
    """Return a value with its interval, each with three significant digits."""
    return f"{value:.3g}" + ("" if low is None or high is None else f" ({low:.3g} to {high:.3g})")


def _times(mean: Mean, factor: float) -> Mean:
    def scaled(value: float | None) -> float | None:
        return None if value is None else value * factor

    points = tuple(
        replace(one, value=one.value * factor, low=scaled(one.low), high=scaled(one.high)) for one in mean.points
    )
    return replace(mean, value=mean.value * factor, low=scaled(mean.low), high=scaled(mean.high), points=points)


def _whole(mean: Mean | None) -> str:
    """Return bits without digits after the point, which their interval does not bear."""
    return with_interval(mean.value, mean.low, mean.high, digits=0) if mean else decimal(None)


def _table(study: Study, rows_bits: dict[str, float]) -> Table:
    rows = []
    for name, bits in rows_bits.items():
        whole = by_size(memorized_means(study, name))
        shares = by_size(memorized_means(study, name, per_parameter=True))
        for size in sorted({point.size for point in study.points("raw_bits", "nelbo", name, "train")}):
            raw = (f"{size * bits:,.0f}", decimal(size * bits / study.parameters[name]))
            mine = (_whole(whole.get(size)), spelled(shares.get(size)))
            rows.append([visible(name), f"{study.parameters[name]:,}", count(size), *raw, *mine])
    head = ["model", "parameters", "N", "raw text [bits]", "per parameter"]
    return Table([*head, "memorized [bits]", "memorized per parameter"], rows)
