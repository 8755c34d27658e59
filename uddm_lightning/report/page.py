"""The page report.html: a single file that opens from disk."""

from collections.abc import Mapping, Sequence

from uddm_lightning.report.assets import script, style_sheet
from uddm_lightning.report.colophon import colophon
from uddm_lightning.report.elements import numbers
from uddm_lightning.report.estimates import MEANINGS, Estimates
from uddm_lightning.report.figures.drawing import Drawing
from uddm_lightning.report.figures.front import NAME
from uddm_lightning.report.figures.svg import inline
from uddm_lightning.report.formatting import escaped
from uddm_lightning.report.hero import hero
from uddm_lightning.report.more import agreement_section, chains_section, leak_section
from uddm_lightning.report.replay import Replay, replay_section
from uddm_lightning.report.terms import definitions
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study

MORE = ("densities", "basins", "margins", "trajectories", "agreement")  # diagnostics, folded
_BESIDE = 7.0  # inches: height on paper of a figure with its caption beside it; taller ones have the caption below
_TITLE = "Memorizing and generalizing, by the number of training rows"
_READING = (
    "<b>t</b> is the corruption time, from 0 (clean) to 1 (noise). With the log-linear schedule a token is redrawn "
    "uniformly with probability of about t.",
    "<b>Recovery</b> is the share of corrupted tokens that the reverse chain restores. Train rows are rows the model "
    "was trained on, test rows are held out. <b>Chance</b> is the recovery of the exact unigram posterior from the "
    "noisy token alone; <b>coincidence</b> is the recovery of a chain that overwrites the row with unrelated text.",
    "<b>Memorizing</b>: train recovery is at least 0.95, and the gap between train and test is surely above the "
    "tolerance of 0.02. <b>In transition</b>: the gap is surely above the tolerance. <b>Not learned yet</b>: test "
    "recovery is not surely above coincidence, or the test NELBO is not 0.1 nats below the unigram entropy. "
    "<b>Generalizing</b>: the whole interval of the gap lies inside the tolerance, and test recovery is surely above "
    "coincidence. Surely means: with the whole 95 % interval. The rules apply in this order.",
    *(f"<b>{SIZES[name]}</b>: {meaning}." for name, meaning in MEANINGS.items()),
    "A transition size is given only if the data support it; the reason is given for each missing one.",
    "Recovery is sampled and is not a proper score: an overconfident model recovers more corrupted tokens and changes "
    "more clean ones. Read it together with the share of wrong tokens before and after the chain.",
    "Whiskers and brackets are 95 % intervals; a whisker that is shorter than its dot is hidden by it. Point at a dot, "
    "or tap it, to read its value; the tables hold all values.",
)


def page(
    study: Study,
    verdict: Estimates,
    drawings: Sequence[Drawing],
    replay: Replay,
    missing: Sequence[str],
    about: Mapping[str, str],
) -> str:
    """Return the whole page as HTML.

    Args:
        study: the measurements.
        verdict: estimates and regimes.
        drawings: the figures, in their order.
        replay: content of the figure `sentences`.
        missing: a sentence for each missing figure.
        about: more entries for "What was measured".
    """
    terms = definitions(study)
    first = next((drawing for drawing in drawings if drawing.name == NAME), None)
    shown = [drawing for drawing in drawings if drawing.name not in (NAME, *MORE)]
    reference = study.reference
    more = [
        *(_section(drawing, terms, reference) for drawing in drawings if drawing.name in MORE),
        agreement_section(study, verdict, terms),
        chains_section(study, terms),
        leak_section(study, terms),
    ]
    folded_more = (
        '<details class="more" id="more"><summary><h2>More: diagnostics and every method</h2></summary>'
        + "\n".join(filter(None, more))
        + "</details>"
    )
    has_captions = any(drawing.has_files for drawing in drawings)
    parts = [
        f"<h1>{_TITLE}</h1>",
        hero(study, verdict, _figure(first, reference) + numbers(first.table, terms) if first else "", terms),
        _contents(shown, any(more)),
        *(
            replay_section(drawing, replay, _files(drawing), terms)
            if drawing.name == "sentences"
            else _section(drawing, terms, reference)
            for drawing in shown
        ),
        folded_more if any(more) else "",
        '<h2 id="reading">How to read this page</h2><ol>' + "".join(f"<li>{line}</li>" for line in _READING) + "</ol>",
        f"<footer>{colophon(study, verdict, missing, about, terms, has_captions)}</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{_TITLE}</title>\n<link rel="icon" href="data:,">\n<style>\n{style_sheet()}</style>\n</head>\n'
        "<body>\n<main>\n" + "\n".join(filter(None, parts)) + "\n</main>\n"
        f"<script>\n{script()}</script>\n</body>\n</html>\n"
    )


def _contents(drawings: Sequence[Drawing], has_more: bool) -> str:
    """Return links to the sections."""
    entries = [(drawing.name, drawing.title) for drawing in drawings]
    entries += [("more", "More")] if has_more else []
    entries += [("reading", "How to read this page"), ("measured", "What was measured")]
    links = "".join(f'<li><a href="#{name}">{escaped(title)}</a></li>' for name, title in entries)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _section(drawing: Drawing, terms: Mapping[str, str], reference: float | None) -> str:
    """Return a figure with its title, remarks and numbers."""
    lines = "".join(f"<li>{escaped(line)}</li>" for line in drawing.remarks)
    remarks = f'<ul class="quiet">{lines}</ul>' if lines else ""
    return (
        f'<section id="{drawing.name}"><h2>{escaped(drawing.title)}</h2>'
        f"{_figure(drawing, reference)}{remarks}{numbers(drawing.table, terms)}</section>"
    )


def _figure(drawing: Drawing, reference: float | None) -> str:
    """Return a figure in both widths with its caption and links to its files.

    The script adds buttons for the times t of its lines, and shows those of the reference t at first. On paper, a
    figure that fits into one column has its caption beside it.
    """
    narrow = inline(drawing, is_narrow=True) if drawing.is_narrow else ""
    times = sorted(set(drawing.times.values()))
    listed_times, data = " ".join(f"{t:g}" for t in times), ""
    if len(times) > 1:
        data = f' data-times="{listed_times}" data-reference="{reference:g}"'
    kind = ' class="beside"' if 0.0 < drawing.narrow_height <= _BESIDE else ""
    return (
        f'<figure{kind}{data}><div class="box">{inline(drawing)}{narrow}</div>'
        f"<figcaption>{escaped(drawing.caption)} {_files(drawing)}</figcaption></figure>"
    )


def _files(drawing: Drawing) -> str:
    """Return links to the files of a figure, if there are any."""
    if not drawing.has_files:
        return ""
    files = {"SVG": ".svg", "PDF": ".pdf"} | ({"PDF, one column": "-column.pdf"} if drawing.is_narrow else {})
    links = " · ".join(f'<a href="figures/{drawing.name}{end}">{name}</a>' for name, end in files.items())
    return f'<span class="files">{links}</span>'
