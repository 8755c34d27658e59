"""report.html: one file that opens from disk, in words first."""

from collections.abc import Mapping, Sequence

from uddm_lightning.report import regimes, words
from uddm_lightning.report.chains import chains_table
from uddm_lightning.report.drawing import Drawing, Table
from uddm_lightning.report.dress import SCRIPT, style_sheet
from uddm_lightning.report.sentences import BROKEN, CHANGED, LOST, RECOVERED, Sentence, columns
from uddm_lightning.report.study import Study, number
from uddm_lightning.report.svg import inline
from uddm_lightning.report.verdict import METHODS, Verdict
from uddm_lightning.report.words import count, decimal, escaped, listed, with_interval

STATES = {
    CHANGED: "corrupted",
    RECOVERED: "corrupted and recovered",
    LOST: "corrupted and not recovered",
    BROKEN: "clean, but broken",
}
_COLUMNS = {  # of the table of agreement
    "recovery": "N* by recovery",
    "entropy": "N* by entropy",
    "overlap": "intervals overlap",
    "ratio": "entropy / recovery",
}
_MANY = 14  # so many sizes scroll inside their own box
_LINE = 40  # characters of a sentence beside each other

_READING = (
    "<b>t</b> is the amount of noise: at t = 0.1 about one token in ten has been replaced by a random one.",
    "<b>Recovery</b> is the share of corrupted tokens that come back; <b>chance</b> is what token frequencies alone "
    "would restore. Train rows are rows the model was trained on, test rows come from documents it never saw.",
    "Train far above test: the rows themselves are attractors, the model <b>memorizes</b>. Both alike and above "
    "chance: it <b>generalizes</b>.",
    "<b>N*</b> is the size at which the gap between train and test has fallen to half of its plateau. <b>Entropy</b> "
    "is the model's doubt; it vanishes on memorized rows and gives N* without any test rows.",
    "Bands and brackets are 95 % intervals. Point at a dot, or tap it, to read its value; the tables hold all of them.",
)


def page(
    study: Study,
    verdict: Verdict,
    drawings: Sequence[Drawing],
    sentences: Sequence[Sentence],
    missing: Sequence[str],
    about: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        study: what was measured.
        verdict: where the transition lies.
        drawings: the figures, in their order.
        sentences: what the figure `sentences` shows, to be set as text.
        missing: why a figure is not there, a sentence each.
        about: more entries for "What was measured".
    """
    kind = "answer" if len(study.backbones) == 1 else "answer several"
    parts = [f'<p class="{kind}">{escaped(regimes.headline(study, verdict, name))}</p>' for name in study.backbones]
    parts += [_trend(study, verdict), _oracles(study), *(_regimes(study, verdict, name) for name in study.backbones)]
    parts.append("<h2>How to read this page</h2><ol>" + "".join(f"<li>{line}</li>" for line in _READING) + "</ol>")
    for drawing in drawings:
        parts.append(_sentences(drawing, sentences) if drawing.name == "sentences" else _figure(drawing))
    parts += [_agreement(study, verdict), _chains(study), _notes(verdict, study, missing), _measured(study, about)]
    title = "Memorizing and generalizing, by the number of training rows"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n<style>\n{style_sheet()}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{title}</h1>\n" + "\n".join(part for part in parts if part) + "\n</main>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _trend(study: Study, verdict: Verdict) -> str:
    """How test recovery changes as N doubles, a sentence for each backbone."""
    sentences = []
    for backbone in study.backbones:
        trend = verdict.trend(backbone, study.reference)
        if trend is None:
            continue
        slope, low, high = (number(trend.get(name)) for name in ("slope", "low", "high"))
        assert slope is not None
        sure = low is not None and high is not None and (low > 0 or high < 0)
        verb = "rises" if slope > 0 else "falls"
        t, whose = number(trend.get("t")), f" of {backbone}" if len(study.backbones) > 1 else ""
        words = f"Test recovery{whose}" + (f" at t = {t:g}" if t is not None else "")
        words += f" {verb} by {abs(slope):.4f} with every doubling of N"
        if low is not None and high is not None:
            ends = sorted((abs(low), abs(high))) if sure else [low, high]
            words += f" (95 % interval {ends[0]:.4f} to {ends[1]:.4f})"
        sentences.append(words + ("." if sure else "; the interval includes no change."))
    return f"<p>{escaped(' '.join(sentences))}</p>" if sentences else ""


def _oracles(study: Study) -> str:
    """How near the largest models come to what is known exactly, a sentence for each oracle."""
    t, size, sentences = study.reference, study.sizes[-1], []
    for oracle in study.oracles:
        exact = next(reversed(study.means("recovery", oracle, "test", t)), None)
        reached = [(name, study.mean("recovery", name, "test", size, t)) for name in study.backbones]
        if exact is not None and t is not None:
            models = [f"{name} at N = {count(size)}: {decimal(mean.value)}" for name, mean in reached if mean]
            value = with_interval(exact.value, exact.low, exact.high)
            parts = [f"Recovery of test rows at t = {t:g}, {words.oracle(oracle)}: {value}", *models]
            sentences.append("; ".join(parts) + ".")
    return f"<p>{escaped(' '.join(sentences))}</p>" if sentences else ""


def _regimes(study: Study, verdict: Verdict, backbone: str) -> str:
    rows = "".join(
        f'<tr><td class="short">{count(regime.size)}</td>'
        f'<td><span class="regime {regime.name.replace(" ", "-")}">{regime.name}</span></td>'
        f'<td class="why">{escaped(regime.why)}</td></tr>'
        for regime in regimes.regimes(study, verdict, backbone)
    )
    if not rows:
        return "<p>Recovery was not measured, so the regime of the sizes cannot be told.</p>"
    whose = f"<h3>{escaped(backbone)}</h3>" if len(study.backbones) > 1 else ""
    head = "<tr><th>N</th><th>the model</th><th>why</th></tr>"
    kind = "box long" if len(study.sizes) > _MANY else "box"
    return f'{whose}<div class="{kind}"><table class="regimes">{head}{rows}</table></div>'


def _figure(drawing: Drawing) -> str:
    lines = "".join(f"<li>{escaped(line)}</li>" for line in drawing.remarks)
    remarks = f'<ul class="quiet">{lines}</ul>' if lines else ""
    return (
        f'<section id="{drawing.name}"><h2>{escaped(drawing.title)}</h2>'
        f'<figure><div class="box">{inline(drawing)}</div>'
        f"<figcaption>{escaped(drawing.caption)}</figcaption></figure>{remarks}{_details(drawing.table)}</section>"
    )


def _details(table: Table) -> str:
    return f"<details><summary>The numbers</summary>{_table(table)}</details>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in table.head)
    cells = [
        "".join(f'<td class="{"short" if len(cell) < 40 else "why"}">{escaped(cell)}</td>' for cell in row)
        for row in table.rows
    ]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="box"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _sentences(drawing: Drawing, sentences: Sequence[Sentence]) -> str:
    key = "".join(f'<span><i class="{state}">a</i> {words}</span>' for state, words in STATES.items())
    blocks = []
    for sentence in sentences:
        tables = []
        for part in columns(sentence, _LINE):
            rows = []
            for line, pieces in zip(sentence.lines, part, strict=True):
                tokens = "".join(
                    f'<i class="{piece.state}" title="{STATES[piece.state]}">{escaped(piece.text)}</i>'
                    if piece.state in STATES
                    else escaped(piece.text)
                    for piece in pieces
                )
                rows.append(f"<tr><td>{escaped(line.label)}</td><td>{tokens}</td></tr>")
            tables.append(f"<table>{''.join(rows)}</table>")
        lines = "".join(f"<li>{escaped(line)}</li>" for line in sentence.summary)
        train = sentence.split == "train"
        known = "a row that every one of these models was trained on" if train else "a row that none of them saw"
        blocks.append(
            f"<h3>At t = {sentence.t:g}, {known}</h3>"
            f'<div class="box sentence">{"".join(tables)}</div><ul class="quiet">{lines}</ul>'
        )
    return (
        f'<section id="{drawing.name}"><h2>{escaped(drawing.title)}</h2><p>{escaped(drawing.caption)}</p>'
        f'<div class="key">{key}</div>{"".join(blocks)}{_details(drawing.table)}</section>'
    )


def _agreement(study: Study, verdict: Verdict) -> str:
    """What transition.json says about the agreement of the methods, whatever columns it has."""
    entries = [(name, entry) for name in study.backbones for entry in verdict.agreement(name)]
    if not entries:
        return ""
    head = list(dict.fromkeys(key for _, entry in entries for key in entry))
    rows = [[name, *(_cell(entry.get(key), key in METHODS) for key in head)] for name, entry in entries]
    words = ["model", *(_COLUMNS.get(key, key.replace("_", " ")) for key in head)]
    return f"<h3>Do the methods agree?</h3>{_table(Table(words, rows))}"


def _chains(study: Study) -> str:
    """Recovery by every chain that was run, where there are several; figures and N* go by the first."""
    table = chains_table(study)
    return f"<h3>Recovery by other chains</h3>{_table(table)}" if table else ""


def _cell(value: object, rows: bool = False) -> str:
    if value is None:
        return decimal(None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return count(value) if rows else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    return ", ".join(map(_cell, value)) if isinstance(value, list | tuple) else str(value)


def _notes(verdict: Verdict, study: Study, missing: Sequence[str]) -> str:
    notes = list(dict.fromkeys([*verdict.notes, *missing]))
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{escaped(note)}</li>" for note in notes) + "</ul>" if notes else ""


def _measured(study: Study, about: Mapping[str, str]) -> str:
    recovery = [row for row in study.rows if row["kind"] == "recovery"]
    rows = sorted({int(row["n_rows"]) for row in recovery if row.get("n_rows")})
    draws = sorted({int(row["n_draws"]) for row in recovery if row.get("n_draws")})
    entries = {
        "models": listed([f"{name} ({size:,} parameters)" for name, size in study.parameters.items()]),
        "sizes": ", ".join(count(size) for size in study.sizes) + " rows",
        "seeds": ", ".join(map(str, study.seeds)),
        "weights": ", ".join(study.values("weights")),
        "training step": ", ".join(f"{int(step):,}" for step in study.values("step")),
        "chain": f"{_all(study, 'chain', 'recovery')} on {_all(study, 'steps', 'recovery')} steps",
        "rows": f"{_span(rows)} distinct ones for each number, {_span(draws)} draws in all",
        "recovery at": ", ".join(f"t = {t:g}" for t in study.times("recovery")),
        "entropy at": ", ".join(f"t = {t:g}" for t in study.times("entropy")),
        "NELBO": f"on t in {listed(study.ranges())}" if study.ranges() else "not measured",
    }
    if not recovery:
        for name in ("chain", "rows", "recovery at"):
            entries[name] = "recovery was not measured"
    lines = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in {**entries, **about}.items())
    return f"<h2>What was measured</h2><dl>{lines}</dl>"


def _all(study: Study, column: str, kind: str) -> str:
    return ", ".join(study.values(column, kind))


def _span(values: Sequence[int]) -> str:
    return (
        f"{values[0]:,}" if len(set(values)) == 1 else f"{values[0]:,} to {values[-1]:,}" if values else decimal(None)
    )
