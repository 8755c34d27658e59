"""The page report.html: a single file that opens from disk."""

from collections.abc import Mapping, Sequence

from uddm_lightning.report import formatting as words
from uddm_lightning.report import regimes
from uddm_lightning.report.assets import script, style_sheet
from uddm_lightning.report.elements import numbers, paragraph, table_of
from uddm_lightning.report.estimates import MEANINGS, Estimates
from uddm_lightning.report.figures import errors
from uddm_lightning.report.figures.chains import chains_table
from uddm_lightning.report.figures.drawing import Drawing, Table
from uddm_lightning.report.figures.plotting import by_size, spelled
from uddm_lightning.report.figures.svg import inline
from uddm_lightning.report.formatting import answer, count, decimal, escaped, listed, time, with_interval
from uddm_lightning.report.replay import Replay, replay_section
from uddm_lightning.report.terms import definitions
from uddm_lightning.results.reference import SIZES
from uddm_lightning.results.study import Study
from uddm_lightning.transition.regimes import CANNOT_BE_TOLD, NOT_AT_ITS_END, REGIMES

_COSTS = ("wrong tokens, test rows", "clean tokens changed")
_MANY = 14  # a table with this many sizes scrolls inside its own box

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
    "Recovery is sampled and no proper score: an overconfident model recovers more corrupted tokens and changes more "
    "clean ones. Read it together with the share of wrong tokens before and after the chain.",
    "Bands and brackets are 95 % intervals. Point at a dot, or tap it, to read its value; the tables hold all of them.",
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
    kind = "answer" if len(study.backbones) == 1 else "answer several"
    parts = []
    for name in study.backbones:
        size, more = regimes.headline(study, verdict, name)
        parts.append(f'<p class="{kind}">{escaped(size)}</p><p>{escaped(more)}</p>')
    parts += [_regimes(study, verdict, name) for name in study.backbones]
    parts += [paragraph(errors.errors_sentences(study)), _oracles(study), _trend(study, verdict)]
    parts.append("<h2>How to read this page</h2><ol>" + "".join(f"<li>{line}</li>" for line in _READING) + "</ol>")
    for drawing in drawings:
        is_replay = drawing.name == "sentences"
        parts.append(replay_section(drawing, replay, "", terms) if is_replay else _figure(drawing, terms))
    parts += [
        _agreement(study, verdict, terms),
        _chains(study, terms),
        _leak(study, terms),
        _notes(verdict, study, missing),
        _measured(study, about),
    ]
    title = "Memorizing and generalizing, by the number of training rows"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n<style>\n{style_sheet()}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{title}</h1>\n" + "\n".join(part for part in parts if part) + "\n</main>\n"
        f"<script>\n{script()}</script>\n</body>\n</html>\n"
    )


def _trend(study: Study, verdict: Estimates) -> str:
    """Return the slope of test recovery against log2 N and its maximum, in a sentence for each backbone."""
    found = []
    for backbone in study.backbones:
        trend = verdict.trend(backbone, study.reference)
        means = study.means("recovery", backbone, "test", trend["t"]) if trend else []
        if trend is None or not means:
            continue
        slope = with_interval(trend["slope"], trend["low"], trend["high"], digits=4)
        whose = f" of {backbone}" if len(study.backbones) > 1 else ""
        peak = max(means, key=lambda mean: mean.value).size
        found.append(
            f"Test recovery{whose} at t = {trend['t']:g}: a straight line against log2 N has the slope "
            f"{slope} per doubling; the highest value is at N = {count(peak)}."
        )
    return paragraph(found)


def _oracles(study: Study) -> str:
    """Return the recovery of oracles and of the largest models, in a sentence for each oracle."""
    t, size, found = study.reference, study.sizes[-1], []
    for oracle in study.oracles:
        exact = next(reversed(study.means("recovery", oracle, "test", t)), None)
        reached = [(name, study.mean("recovery", name, "test", size, t)) for name in study.backbones]
        if exact is None or t is None:
            continue
        models = [f"{name} at N = {count(size)} reaches {decimal(mean.value)}" for name, mean in reached if mean]
        value = with_interval(exact.value, exact.low, exact.high)
        parts = [f"Recovery of test rows at t = {t:g}: {words.oracle(oracle)} reaches {value}", *models]
        argmax = exact.number("bayes_argmax")
        if argmax is not None:
            parts.append(
                f"the likeliest token at every corrupted position would restore {decimal(argmax)} "
                "under the exact distribution"
            )
        found.append("; ".join(parts) + ".")
    if found:
        found.append("An overconfident model can recover more than the exact posterior's chain.")
    return paragraph(found)


def _regimes(study: Study, verdict: Estimates, backbone: str) -> str:
    found = verdict.regimes(backbone)
    whose = f"<h3>{escaped(backbone)}</h3>" if len(study.backbones) > 1 else ""
    if not found:
        return f"{whose}<p>The regimes of the sizes were not judged.</p>"
    rows = "".join(
        f'<tr><td class="short">{count(one.size)}</td>'
        f'<td><span class="regime {_class(one.regime.name)}">{escaped(one.regime.name)}</span></td>'
        f'<td class="why">{escaped(" ".join([regimes.sentence(one.regime), regimes.seeds(one)]).strip())}</td>'
        + "".join(
            f'<td class="short" data-name="{name}">{escaped(cell)}</td>'
            for name, cell in zip(_COSTS, errors.cells(study, backbone, "test", one.size, study.reference), strict=True)
        )
        + "</tr>"
        for one in found
    )
    head = "".join(f"<th>{name}</th>" for name in ("N", "the model is", "why", *_COSTS))
    kind = "box long" if len(study.sizes) > _MANY else "box"
    late = any(NOT_AT_ITS_END in one.regime.qualifiers for one in found)
    note = f'<p class="quiet">{escaped(regimes.NOT_AT_END)}</p>' if late else ""
    return f'{whose}<div class="{kind}"><table class="regimes"><tr>{head}</tr>{rows}</table></div>{note}'


def _class(regime: str) -> str:
    return regime.replace(" ", "-") if regime in REGIMES else CANNOT_BE_TOLD.replace(" ", "-")


def _leak(study: Study, terms: Mapping[str, str]) -> str:
    """Return the table of the own-token leak, by size."""
    splits, times = ("train", "test", "samples"), study.times("entropy")
    rows = []
    for backbone in [*study.backbones, *study.oracles]:
        t = next((t for t in times if study.column("self_token_influence", "entropy", backbone, "train", t)), None)
        columns = [by_size(study.column("self_token_influence", "entropy", backbone, s, t)) for s in splits]
        sizes = sorted(set().union(*columns))
        rows += [[backbone, count(size), *(spelled(column.get(size)) for column in columns)] for size in sizes]
    if not rows:
        return ""
    return (
        '<section id="leak"><h3>Own-token leak</h3><p>The leave-one-out prediction of a token must not depend on the '
        "token at its own position. The leak is the total variation by which it changes when only that token is "
        "redrawn: 0 for an exact leave-one-out prediction, at most 1. NELBO, chain and entropy are exact only at 0.</p>"
        f"{numbers(Table(['model', 'N', 'train rows', 'test rows', 'own samples'], rows), terms)}</section>"
    )


def _figure(drawing: Drawing, terms: Mapping[str, str]) -> str:
    lines = "".join(f"<li>{escaped(line)}</li>" for line in drawing.remarks)
    remarks = f'<ul class="quiet">{lines}</ul>' if lines else ""
    return (
        f'<section id="{drawing.name}"><h2>{escaped(drawing.title)}</h2>'
        f'<figure><div class="box">{inline(drawing)}</div>'
        f"<figcaption>{escaped(drawing.caption)}</figcaption></figure>{remarks}"
        f"{numbers(drawing.table, terms)}</section>"
    )


def _agreement(study: Study, verdict: Estimates, terms: Mapping[str, str]) -> str:
    """Return the table of the ratios of N_half by entropy and by recovery, by t."""
    rows = []
    for backbone in study.backbones:
        for entry in verdict.agreement(backbone):
            halves = (entry["recovery"], entry["entropy"])
            sizes = [decimal(None) if half is None else count(half) for half in halves]
            ratio = with_interval(entry["ratio"], entry["low"], entry["high"], digits=2)
            rows.append([backbone, time(entry["t"]), *sizes, ratio, answer(entry["agree"]), entry["reason"] or ""])
    if not rows:
        return ""
    head = ["model", "t", "by recovery", "by entropy", "ratio (95 % interval)", "within a factor of 2", "reason"]
    return f"<h3>N_half by recovery and by entropy of train rows</h3>{table_of(Table(head, rows), terms)}"


def _chains(study: Study, terms: Mapping[str, str]) -> str:
    """Return the table of recovery by each sampler, if there are several; figures and estimates use the first."""
    table = chains_table(study)
    return f"<h3>Recovery by other chains</h3>{table_of(table, terms)}" if table else ""


def _notes(verdict: Estimates, study: Study, missing: Sequence[str]) -> str:
    """Return the notes of transition.json that no figure shows, and the reasons for missing figures."""
    estimates = (one for name in study.backbones for one in verdict.estimates(name))
    endings = tuple(f"{reason}." for one in estimates for reason in one.reasons.values())
    notes = list(dict.fromkeys([*(note for note in verdict.notes if not note.endswith(endings)), *missing]))
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{escaped(note)}</li>" for note in notes) + "</ul>" if notes else ""


def _measured(study: Study, about: Mapping[str, str]) -> str:
    sampler, steps = (", ".join(study.values(name, "recovery")) for name in ("sampler", "sampler_steps"))
    rows, draws = (_span(study.values(name, "recovery")) for name in ("n_rows", "n_draws"))
    entries = {
        "models": listed([f"{name} ({size:,} parameters)" for name, size in study.parameters.items()]),
        "sizes": ", ".join(count(size) for size in study.sizes) + " rows",
        "seeds": ", ".join(map(str, study.seeds)),
        "weights": ", ".join(study.values("weights")),
        "training step": ", ".join(f"{int(step):,}" for step in study.values("step")),
        "sampler": f"{sampler} on {steps} steps",
        "rows": f"{rows} distinct rows and {draws} draws for each number",
        "recovery at": ", ".join(f"t = {t:g}" for t in study.times("recovery")),
        "entropy at": ", ".join(f"t = {t:g}" for t in study.times("entropy")),
        "NELBO": f"on t in {listed(study.ranges())}" if study.ranges() else "not measured",
    }
    if wide := study.ranges("nelbo_extrapolated"):
        entries["NELBO, extrapolated"] = f"on t in {listed(wide)}; the network was trained on a part of it"
    if not study.values("metric", "recovery"):
        entries |= dict.fromkeys(("sampler", "rows", "recovery at"), "recovery was not measured")
    lines = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in {**entries, **about}.items())
    return f"<h2>What was measured</h2><dl>{lines}</dl>"


def _span(values: Sequence[str]) -> str:
    """Return the ends of ascending numbers."""
    return " to ".join(f"{int(value):,}" for value in dict.fromkeys([*values[:1], *values[-1:]])) or decimal(None)
