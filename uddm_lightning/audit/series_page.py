"""The page of a folder of checkpoints: the verdict of each step, and the entropies behind it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from uddm_lightning.audit.calibration import FEATURES, REGIMES, UNDETERMINED
from uddm_lightning.audit.own_samples import T
from uddm_lightning.audit.page import figure_section, plain_table, whole_page
from uddm_lightning.audit.probe import Probed
from uddm_lightning.audit.probe_page import READING, about, samples_section, sentence
from uddm_lightning.audit.series import changes, named
from uddm_lightning.report.figures.drawing import (
    CATEGORIES,
    FAINT,
    REGIME_COLOURS,
    TEXT,
    WIDTH,
    Drawing,
    Table,
    new_figure,
    style,
)
from uddm_lightning.report.formatting import decimal, escaped


def series_page(series: Sequence[Probed]) -> str:
    """Return the page as HTML.

    Args:
        series: results of `probe_model`, in the order of their steps; at least one.
    """
    first, *others = changes(series)
    last = series[-1]
    name = named(last)
    kind = "cannot-be-told" if last.verdict.name == UNDETERMINED else last.verdict.name.replace(" ", "-")
    outside = sorted({one for probed in series for one in probed.verdict.outside})
    with style():
        parts = [
            f'<p class="answer"><span class="regime {kind}">{escaped(sentence(name))}</span>'
            f"{escaped(first.removeprefix(name))}.</p>",
            *(f"<p>{escaped(sentence(line))}.</p>" for line in others),
            *(f"<p><b>Outside of the calibration:</b> {escaped(sentence(one))}.</p>" for one in outside),
            figure_section(_regimes(series)),
            figure_section(_entropies(series), is_folded=True),
            samples_section(last, f"Own samples of step {last.model['step']:,} by token entropy"),
        ]
    parts.append("<h2>How to read this page</h2><ul>" + "".join(f"<li>{line}</li>" for line in READING) + "</ul>")
    parts.append(f"<h2>What was measured, at the last step</h2>{plain_table(about(last))}")
    return whole_page("Verdicts on the checkpoints of a training", parts)


def _regimes(series: Sequence[Probed]) -> Drawing:
    """Draw the probabilities of the regimes over steps, on top of each other."""
    steps = _steps(series)
    shares = [[one.verdict.probabilities[regime] for one in series] for regime in REGIMES]
    figure = new_figure(WIDTH, 3.0)
    axes = figure.subplots()
    axes.stackplot(steps, shares, colors=[REGIME_COLOURS[regime][0] for regime in REGIMES], alpha=0.45, linewidth=0)
    (dots,) = axes.plot(steps, [1.06] * len(steps), "o", color=TEXT[0], markersize=4, clip_on=False)
    axes.set(ylim=(0, 1.12), yticks=[0, 0.5, 1], ylabel="probability")
    _name_steps(axes, steps)
    names = list(FEATURES)
    rows = [
        [
            f"{step:,}",
            named(one),
            f"{one.verdict.probability:.2f}",
            *(f"{FEATURES[name].value(one.evidence):.2f}" for name in names),
        ]
        for step, one in zip(steps, series, strict=True)
    ]
    drawing = Drawing(
        "regimes",
        "Probability of each regime over the steps",
        figure,
        "Areas: probabilities of the regimes, which sum to 1. Dots: the checkpoints that were measured.",
        Table(["step", "verdict", "probability", *names], rows),
        is_narrow=True,
    )
    drawing.mark(dots, [f"step {row[0]}: {row[1]} {row[2]}" for row in rows])
    drawing.legend([Patch(color=REGIME_COLOURS[regime][0], alpha=0.45, label=regime) for regime in REGIMES])
    return drawing


def _entropies(series: Sequence[Probed]) -> Drawing:
    """Draw the entropy of own samples over steps, on the scale of their token frequencies."""
    steps = _steps(series)
    values = {
        "own samples": [one.evidence.entropy for one in series],
        "shuffled samples": [one.evidence.entropy_shuffled for one in series],
        "token frequencies": [one.evidence.unigram_entropy for one in series],
    }
    figure = new_figure(WIDTH, 3.0)
    axes = figure.subplots()
    colours = dict(zip(values, (TEXT[0], CATEGORIES[0][0], FAINT[0]), strict=True))
    drawing_lines: list[Line2D] = []
    for name, mine in values.items():
        (line,) = axes.plot(steps, mine, "o-", color=colours[name], markersize=5, label=name)
        drawing_lines.append(line)
    axes.set(ylim=(0, None), ylabel="entropy [nats per token]")
    _name_steps(axes, steps)
    rows = [[f"{step:,}", *(decimal(mine[i]) for mine in values.values())] for i, step in enumerate(steps)]
    drawing = Drawing(
        "entropies",
        "Entropy of the predictions over the steps",
        figure,
        f"Entropy at t = {T:g} on own samples and on own samples whose tokens are permuted within each row. Token "
        "frequencies: the entropy of a model that uses no context.",
        Table(["step", *values], rows),
        is_narrow=True,
    )
    for line, mine in zip(drawing_lines, values.values(), strict=True):
        drawing.mark(line, [f"step {step:,}: {value:.3f}" for step, value in zip(steps, mine, strict=True)])
    drawing.legend(drawing_lines)
    return drawing


def _steps(series: Sequence[Probed]) -> list[int]:
    return [int(one.model["step"]) for one in series]


def _name_steps(axes: Axes, steps: Sequence[int]) -> None:
    axes.set(xlabel="optimizer steps")
    if len(set(steps)) > 1:
        axes.set_xlim(min(steps), max(steps))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
