"""The page of an audit: a single HTML file that opens from disk."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, NullFormatter

from uddm_lightning.audit.statements import findings
from uddm_lightning.report.assets import script, style_sheet
from uddm_lightning.report.elements import numbers
from uddm_lightning.report.figures.drawing import (
    FAINT,
    LOST,
    WIDTH,
    Drawing,
    Table,
    category,
    new_figure,
    ramp,
    style,
)
from uddm_lightning.report.figures.svg import inline
from uddm_lightning.report.formatting import count, escaped

_READING = (
    "<b>AUC</b> is the probability that a member has a higher score than a nonmember: 0.5 means no information, 1 full "
    "separation. Intervals are 95 % bootstrap intervals over documents.",
    "<b>TPR at FPR 1 %</b> is the share of members that are found when at most 1 % of nonmembers are accused.",
    "<b>Text alone</b> is a classifier that never sees the model, tested on documents that it was not fitted on. Where "
    "it is above 0.5, the two texts differ, and no score of the model can be trusted.",
    "<b>Minus reference</b> is the score minus that of the reference model. <b>Given n-grams</b> is the score minus "
    "the value that the n-gram frequency of the text predicts.",
    "<b>Exposure</b> is log2 of the number of candidate rows minus log2 of the rank of the planted one.",
    "<b>(n, p)</b>: at least one of n attempts is verbatim with probability p or more.",
)


def audit_page(found: dict[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        found: result of `audit`.
    """
    stated = findings(found)
    first, *others = (escaped(sentence) for sentence in stated.sentences)
    with style():
        drawings = [_roc_drawing(found["membership"], stated.tables["Membership"])]
        if found["canaries"]:
            drawings.append(_canary_drawing(found["canaries"], stated.tables["Canaries"]))
        parts = [f'<p class="answer">{first}</p>', *(f"<p>{sentence}</p>" for sentence in others)]
        parts += [figure_section(drawing) for drawing in drawings]
    shown = {"Membership", "Canaries"}
    parts += [f"<h2>{name}</h2>{plain_table(table)}" for name, table in stated.tables.items() if name not in shown]
    parts.append("<h2>How to read this page</h2><ul>" + "".join(f"<li>{line}</li>" for line in _READING) + "</ul>")
    parts.append(f"<h2>What was measured</h2>{plain_table(_measured(found))}")
    return whole_page("Audit of a trained model", parts)


def whole_page(title: str, parts: Sequence[str]) -> str:
    """Return a page of its own in the style of the reports.

    Args:
        title: the heading, as plain text.
        parts: content as HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n<style>\n{style_sheet()}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{title}</h1>\n" + "\n".join(parts) + "\n</main>\n"
        f"<script>\n{script()}</script>\n</body>\n</html>\n"
    )


def _roc_drawing(membership: dict[str, Any], table: Table) -> Drawing:
    figure = new_figure(WIDTH, 3.8)
    axes = figure.subplots()
    curves = {name: entry for name, entry in membership["scores"].items() if " " not in name}
    if membership["blind_baseline"]:
        axes.plot(*_points(membership["blind_baseline"]), "--", color=FAINT[0], label="text alone")
    for index, (name, entry) in enumerate(curves.items()):
        axes.plot(*_points(entry), color=ramp(index, len(curves))[0], label=name.replace("_", " "))
    axes.plot([1e-4, 1.0], [1e-4, 1.0], ":", color=FAINT[0], linewidth=1.0, label="chance")
    smallest = min(share for entry in curves.values() for share in entry["roc"]["fpr"] if share > 0)
    axes.set(xscale="log", yscale="log", xlim=(smallest, 1.0), ylim=(smallest, 1.05))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    for axis in (axes.xaxis, axes.yaxis):  # the usual labels are formulas, which figures of a page do not have
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.legend()
    caption = "ROC curves on logarithmic axes. The left edge is a single nonmember."
    return Drawing("roc", "Membership", figure, caption, table)


def _canary_drawing(canaries: dict[str, Any], table: Table) -> Drawing:
    figure = new_figure(WIDTH, 3.2)
    axes = figure.subplots()
    planted = canaries["canaries"]
    drawing = Drawing("canaries", "Canaries", figure, "", table)
    pairs = [one["repetitions"] for one in planted], [one["exposure"] for one in planted]
    (dots,) = axes.plot(*pairs, "o", color=category(0), alpha=0.65, label="each canary")
    drawing.mark(dots, [f"{one['repetitions']} repetitions: {one['exposure']:.2f} bits" for one in planted])
    means = canaries["by_repetitions"]
    axes.plot([one["repetitions"] for one in means], [one["exposure"]["value"] for one in means], color=LOST[0])
    axes.axhline(canaries["exposure_by_chance"], color=FAINT[0], linestyle=":", linewidth=1.0)
    axes.axhline(canaries["highest_exposure"], color=FAINT[0], linestyle="--", linewidth=1.0)
    axes.set_xscale("symlog", linthresh=1, base=2)
    ticks = [one["repetitions"] for one in means]
    axes.set_xticks(ticks, [count(tick) if tick else "0" for tick in ticks])
    axes.set(xlabel="repetitions of the canary among the training rows", ylabel="exposure [bits]")
    drawing.caption = (
        "Exposure of each canary and its mean. Dotted: expected value of a row that was never planted. Dashed: highest "
        "possible value."
    )
    return drawing


def _points(entry: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return the points of a ROC curve that a logarithmic axis can show."""
    pairs = zip(entry["roc"]["fpr"], entry["roc"]["tpr"], strict=True)
    shown = [(fpr, tpr) for fpr, tpr in pairs if fpr > 0 and tpr > 0]
    return [fpr for fpr, _ in shown], [tpr for _, tpr in shown]


def _measured(found: dict[str, Any]) -> Table:
    settings, model = found["settings"], found["model"]
    groups = [
        [group, f"{count(one['sequences'])} sequences of {count(one['documents'])} documents, {one['name']}"]
        for group, one in ((group, found[group]) for group in ("members", "nonmembers"))
    ]
    reference = found["reference"]
    noise = settings["noise"]
    return Table(
        ["", ""],
        [
            ["model", f"{model['path']}, step {model['step']}, {model['weights']} weights"],
            ["checkpoint, SHA-256", model["checkpoint"]],
            ["reference model", reference["path"] if reference else "none"],
            *groups,
            ["loss", "NELBO on t in [{:g}, {:g}]".format(*found["t_range"])],
            ["reference t", f"{noise['t']:g}"],
            ["draws of noise", f"{noise['draws']} for each sequence, seed {noise['seed']}"],
        ],
    )


def figure_section(drawing: Drawing, is_folded: bool = False) -> str:
    """Return a figure in both widths with its title, caption and numbers as HTML; the numbers may be folded."""
    narrow = inline(drawing, is_narrow=True) if drawing.is_narrow else ""
    table = numbers(drawing.table, {}) if is_folded else plain_table(drawing.table)
    return (
        f'<section id="{drawing.name}"><h2>{escaped(drawing.title)}</h2>'
        f'<figure><div class="box">{inline(drawing)}{narrow}</div>'
        f"<figcaption>{escaped(drawing.caption)}</figcaption></figure>{table}</section>"
    )


def plain_table(table: Table) -> str:
    """Return a table as HTML."""
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return f'<div class="box"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
