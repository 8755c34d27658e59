"""Figures over N: recovery with the NELBO, and entropy."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes

from uddm_lightning.report import formatting as words
from uddm_lightning.report.estimates import MEANINGS, Estimates
from uddm_lightning.report.figures.drawing import FAINT, TEXT, Drawing, Table, ramp
from uddm_lightning.report.figures.plotting import (
    SPLIT_NAMES,
    SPLIT_STYLES,
    by_size,
    curve,
    draw_crossing,
    label_ends,
    legend_line,
    level,
    name_lines,
    oracle_style,
    panel_axis,
    panels_of,
    spelled,
    thin_line,
)
from uddm_lightning.report.formatting import count, decimal, draws, listed, visible
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Mean, Study

NELBOS = ("nelbo", "nelbo_extrapolated")


def recovery_drawing(study: Study, verdict: Estimates) -> Drawing:
    """Draw recovery against N, a colour for each t, with the NELBO above on the same axis and the headline marked."""
    times, ranges = study.times("recovery"), study.ranges()
    figure, panels = panels_of(study, (1.0, 2.5) if ranges else (1.0,), 5.4 if ranges else 4.0)
    drawing = Drawing(
        "recovery",
        "Recovery against the number of training rows",
        figure,
        "The share of corrupted tokens that the reverse chain restores, on rows the model was trained on (solid) and "
        "on held-out rows (dashed). "
        + bands(study)
        + levels(study)
        + _oracles(study, "recovery")
        + _best(study, times)
        + (f"Above: the NELBO in nats per token, on t in {listed(ranges)}. " if ranges else "")
        + _marked(study, verdict),
        _recovery_table(study, verdict, times),
        remarks=[line for name in study.backbones if (line := _random(study, name))]
        + (["The gap of the NELBO in the table is that of test rows minus that of train rows."] if ranges else []),
    )
    for column, backbone in enumerate(study.backbones):
        axes = panels[-1][column]
        for t in times:
            colour, weight = colour_of(study, t), 2.2 if t == study.reference else 1.4
            for split in ("train", "test"):
                means = study.means("recovery", backbone, split, t)
                curve(drawing, axes, means, f"{split}, t = {t:g}", colour, SPLIT_STYLES[split], t, linewidth=weight)
            chance = study.column("chance", "recovery", backbone, "test", t)
            drawing.at(t, *thin_line(axes, chance, colour, ":", alpha=0.7))
            for index, oracle in enumerate(study.oracles):
                exact = study.means("recovery", oracle, "test", t)
                drawing.at(t, *level(axes, study.sizes, exact, index, colour))
                drawing.at(t, *level(axes, study.sizes, _argmax(study, oracle, t), len(study.oracles), colour))
        thin_line(axes, study.column("coincidence", "recovery", backbone, "test", study.reference), FAINT[0])
        panel_axis(axes, study)
        axes.set_ylim(-0.02, 1.16)  # room for the label of the transition size
        _labels(drawing, study, axes, "recovery", backbone, times, ("train", "test"))
        found = verdict.headline(backbone)
        crossing, name = (found.crossing, found.estimate) if found else (None, "")
        draw_crossing(axes, crossing, name)
        if len(panels) > 1:
            _nelbo(drawing, study, panels[0][column], backbone)
            draw_crossing(panels[0][column], crossing, name, label=False)
    panels[-1][0].set_ylabel("token recovery")
    if len(panels) > 1:
        top = panels[0][0].get_ylim()[1]  # of all panels, which share this axis
        panels[0][0].set_ylim(-0.05 * top, top)
        panels[0][0].set_ylabel("\n".join(["NELBO", *(f"t in {name}" for name in ranges)]))
    _legend(study, drawing, times, ["train", "test"], recovery=True)
    return drawing


def entropy_drawing(study: Study, verdict: Estimates) -> Drawing:
    """Draw entropy against N on train rows, test rows and own samples, with N_half of train rows."""
    times = study.times("entropy")
    splits = [
        s
        for s in SPLIT_NAMES
        if any(study.points("entropy", "entropy", b, s, t) for b in study.backbones for t in times)
    ]
    figure, panels = panels_of(study, (1.0,), 4.0)
    halves = {name: verdict.half(name, "entropy", study.reference) for name in study.backbones}
    drawing = Drawing(
        "entropy",
        "Entropy against the number of training rows",
        figure,
        "Conditional entropy of a token given the corrupted row, which the network must not read at that token's own "
        "position; in nats, on train rows (solid), test rows (dashed)"
        + (" and own samples (dotted)" if "samples" in splits else "")
        + ". At small t it is near 0 on memorized rows, and also on text that is easy to predict. "
        + bands(study)
        + _oracles(study, "entropy")
        + ("Vertical line: N_half by entropy on train rows, with its 95 % interval." if any(halves.values()) else ""),
        _entropy_table(study, times, splits),
    )
    for column, backbone in enumerate(study.backbones):
        axes = panels[0][column]
        for t in times:
            colour, weight = colour_of(study, t), 2.2 if t == study.reference else 1.4
            for split in splits:
                means = study.means("entropy", backbone, split, t)
                name = f"{SPLIT_NAMES[split]}, t = {t:g}"
                curve(drawing, axes, means, name, colour, SPLIT_STYLES[split], t, linewidth=weight)
            for index, oracle in enumerate(study.oracles):
                exact = study.means("entropy", oracle, "test", t)
                drawing.at(t, *level(axes, study.sizes, exact, index, colour))
        panel_axis(axes, study)
    low, high = panels[0][0].get_ylim()  # of all panels, which share this axis
    panels[0][0].set_ylim(-0.03 * high, high + 0.13 * max(high - low, high / 2))
    for axes, backbone in zip(panels[0], study.backbones, strict=True):
        _labels(drawing, study, axes, "entropy", backbone, times, splits)
        draw_crossing(axes, halves[backbone], "n_half")
    panels[0][0].set_ylabel("conditional entropy [nats]")
    _legend(study, drawing, times, splits, recovery=False)
    return drawing


def _oracles(study: Study, kind: str) -> str:
    """Return the meaning of the oracles' lines, for oracles with a measurement of `kind`."""
    drawn = [name for name in study.oracles if any(study.means(kind, name, "test", t) for t in study.times(kind))]
    named = listed([words.oracle_label(name) for name in drawn])
    return f"Thin lines, on test rows: {named}. " if named else ""


def bands(study: Study) -> str:
    """Return the meaning of the whiskers."""
    if len(study.seeds) == 1:
        return "Whiskers are 95 % intervals over the sampling of rows and noise, for the one seed that was trained. "
    return "Whiskers are 95 % intervals of the mean over seeds, by Student's t; small points are the seeds. "


def levels(study: Study) -> str:
    """Return the meaning of chance and coincidence."""
    text = "Dotted: chance, the recovery of the exact unigram posterior from the noisy token alone. "
    chains = study.values("sampler", "recovery") if study.values("coincidence", "recovery") else []
    for chain_ in chains:
        text += f"Grey: coincidence, the recovery of the {visible(chain_)} chain if it overwrites a row with unrelated "
        text += "text: "
        text += "the sum of squared token frequencies. " if draws(chain_) else "the largest token frequency at most. "
    return text


def _best(study: Study, times: list[float]) -> str:
    """Return the meaning of the Bayes argmax, if a distribution of text is known."""
    text = "Bayes argmax: recovery of the likeliest token at every corrupted position, under the exact distribution. "
    return text if any(_argmax(study, oracle, t) for oracle in study.oracles for t in times) else ""


def _marked(study: Study, verdict: Estimates) -> str:
    """Return the meaning of the vertical line."""
    found = {one.estimate for name in study.backbones if (one := verdict.headline(name))}
    named = listed([f"{SIZES[name]}, {MEANINGS[name]}" for name in SIZES if name in found])
    return f"Vertical line: {named}, with its 95 % interval." if named else ""


def _argmax(study: Study, oracle: str, t: float) -> list[Mean]:
    """Return E[max p] of an exact posterior: how often its most probable token is right."""
    return study.column("bayes_argmax", "recovery", oracle, "test", t)


def _nelbo(drawing: Drawing, study: Study, axes: Axes, backbone: str) -> None:
    for split in ("train", "test"):
        means = study.means("nelbo", backbone, split)
        curve(drawing, axes, means, f"NELBO, {split}", TEXT[0], SPLIT_STYLES[split], linewidth=1.3, markersize=3.5)
    for index, oracle in enumerate(study.oracles):
        level(axes, study.sizes, study.means("nelbo", oracle, "test"), index, TEXT[0])
    panel_axis(axes, study, labelled=False)


def colour_of(study: Study, t: float) -> str:
    """Return the colour of a corruption time, the same in every figure."""
    times = sorted({*study.times("recovery"), *study.times("entropy")})
    return ramp(times.index(t), len(times))[0]


def _labels(
    drawing: Drawing, study: Study, axes: Axes, kind: str, backbone: str, times: Sequence[float], splits: Sequence[str]
) -> None:
    """Write every t at the right ends of the lines, and the splits beside the lines of the reference t."""
    right = {t: study.means(kind, backbone, "test", t) or study.means(kind, backbone, "train", t) for t in times}
    label_ends(drawing, axes, [(f"t = {t:g}", means, colour_of(study, t), t) for t, means in right.items()])
    if study.reference is None:
        return
    colour = colour_of(study, study.reference)
    lines = {SPLIT_NAMES[split]: study.means(kind, backbone, split, study.reference) for split in splits}
    name_lines(drawing, axes, [(name, means, colour, study.reference) for name, means in lines.items()])


def _legend(study: Study, drawing: Drawing, times: list[float], splits: list[str], recovery: bool) -> None:
    """Draw a legend under all panels: line styles for splits and for levels."""
    styles = [legend_line(SPLIT_NAMES[split], TEXT[0], SPLIT_STYLES[split], 1.4) for split in splits]
    kind = "recovery" if recovery else "entropy"
    levels: list[tuple[str, Any]] = [
        (words.oracle_label(oracle), oracle_style(index))
        for index, oracle in enumerate(study.oracles)
        if any(study.means(kind, oracle, "test", t) for t in times)
    ]
    if recovery:
        levels.append(("chance", ":"))
        if any(_argmax(study, oracle, t) for oracle in study.oracles for t in times):
            levels.append(("Bayes argmax", oracle_style(len(study.oracles))))
        if study.values("coincidence", "recovery"):
            levels.append(("coincidence", "-"))
    drawing.legend([*styles, *(legend_line(name, FAINT[0], style, 1.2) for name, style in levels)])


def _recovery_table(study: Study, verdict: Estimates, times: list[float]) -> Table:
    rows = []
    kinds = [*(("recovery", t) for t in times), *((kind, None) for kind in NELBOS if study.ranges(kind))]
    for backbone, (kind, t) in product([*study.backbones, *study.oracles], kinds):
        column = "recovery" if t is not None else "nelbo"
        splits = ("train", "test", "random")
        train, test, random = (by_size(study.column(column, kind, backbone, split, t)) for split in splits)
        gaps = by_size(verdict.gaps(backbone, kind, t))
        for size in study.sizes:
            means = [of.get(size) for of in (train, test, gaps, random)]
            one = means[1] or means[0]
            if one and t is not None:
                exact = next((mean.value for mean in _argmax(study, backbone, t)), None)
                known = (one.number("chance"), one.number("coincidence"), exact)
                cells = [*map(spelled, means), *map(decimal, known)]
                rows.append([visible(backbone), f"{t:g}", count(size), *cells])
            elif one:
                for unit, values in (("nats", means), ("bits", [_in_bits(mean) for mean in means])):
                    name = f"NELBO on {listed(study.ranges(kind))} [{unit}]"
                    name += ", extrapolated" if kind == "nelbo_extrapolated" else ""
                    rows.append([visible(backbone), name, count(size), *map(spelled, values), "", "", ""])
    head = ["model", "t", "N", "train", "test", "gap", "random tokens", "chance", "coincidence", "Bayes argmax"]
    return Table(head, rows)


def _random(study: Study, backbone: str) -> str:
    """Return the recovery of rows of random tokens at the reference t, from the smallest size to the largest."""
    means = study.means("recovery", backbone, "random", study.reference)
    whose = f" by {visible(backbone)}" if len(study.backbones) > 1 else ""
    sizes = " to ".join(count(mean.size) for mean in (means[0], means[-1])) if len(means) > 1 else ""
    ends = [decimal(edge(mean.value for mean in means)) for edge in (min, max)] if means else []
    values = " to ".join(dict.fromkeys(ends))
    text = f"Rows of uniform random tokens at t = {study.reference:g}: {values} of the corrupted"
    return f"{text} tokens are restored{whose}" + (f" at N = {sizes}." if sizes else ".") if means else ""


def _in_bits(mean: Mean | None) -> Mean | None:
    """Return a mean in nats as bits per token."""
    if mean is None:
        return None
    low, high = (end if end is None else end / math.log(2) for end in (mean.low, mean.high))
    return Mean(mean.size, mean.value / math.log(2), low, high, ())


def _entropy_table(study: Study, times: list[float], splits: list[str]) -> Table:
    rows = []
    for backbone, t in product([*study.backbones, *study.oracles], times):
        columns = [by_size(study.means("entropy", backbone, split, t)) for split in splits]
        for size in study.sizes:
            if any(size in column for column in columns):
                cells = [spelled(column.get(size)) for column in columns]
                rows.append([visible(backbone), f"{t:g}", count(size), *cells])
    return Table(["model", "t", "N", *(SPLIT_NAMES[split] for split in splits)], rows)
