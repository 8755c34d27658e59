"""The beginning of the page: the answer, the first figure, and the regimes of all sizes."""

from collections.abc import Mapping

from uddm_lightning.report import formatting as words
from uddm_lightning.report import regimes
from uddm_lightning.report.elements import box, folded, paragraph, term
from uddm_lightning.report.estimates import Estimates
from uddm_lightning.report.figures import errors
from uddm_lightning.report.formatting import count, decimal, escaped, with_interval
from uddm_lightning.results.study import Study
from uddm_lightning.transition.regimes import NOT_AT_ITS_END, REGIMES, UNDETERMINED

_LEAST_SLOPE = 5e-5  # of recovery per doubling; less is 0 in four digits
_COSTS = ("wrong tokens, test rows", "clean tokens changed")


def hero(study: Study, verdict: Estimates, figure: str, terms: Mapping[str, str]) -> str:
    """Return the answers beside the first figure, the regimes, and sentences on costs, oracles and trend.

    Args:
        study: the measurements.
        verdict: estimates and regimes.
        figure: the first figure as HTML; "" without it.
        terms: definitions of terms.
    """
    kind = "answer" if len(study.backbones) == 1 else "answer several"
    answers = []
    for name in study.backbones:
        size, more = regimes.headline(study, verdict, name)
        answers.append(f'<p class="{kind}">{escaped(size)}</p><p>{escaped(more)}</p>')
    side = "hero" if len(study.backbones) == 1 else "hero stacked"
    parts = [f'<div class="{side}"><div>{"".join(answers)}</div><div>{figure}</div></div>']
    parts += [_regimes(study, verdict, name, terms) for name in study.backbones]
    parts += [paragraph(errors.errors_sentences(study)), _oracles(study), _trend(study, verdict)]
    return "\n".join(part for part in parts if part)


def _regimes(study: Study, verdict: Estimates, backbone: str, terms: Mapping[str, str]) -> str:
    """Return the regimes of all sizes in short, with a folded table of their reasons."""
    found = verdict.regimes(backbone)
    whose = f"<h3>{escaped(backbone)}</h3>" if len(study.backbones) > 1 else ""
    if not found:
        return f"{whose}<p>The regimes of the sizes were not judged.</p>"
    chips, rows = [], []
    for one in found:
        name = escaped(one.regime.name)
        regime = f'<span class="regime {_class(one.regime.name)}">{name}</span>'
        chips.append(f"<li><b>{count(one.size)}</b> {regime}</li>")
        why = " ".join([regimes.sentence(one.regime), regimes.seeds(one)]).strip()
        costs = errors.cells(study, backbone, "test", one.size, study.reference)
        cells = zip(_COSTS, costs, strict=True)
        rows.append(
            f'<tr><td class="number">{count(one.size)}</td><td class="short">{regime}</td>'
            f'<td class="why">{escaped(why)}</td>'
            + "".join(f'<td class="number" data-name="{title}">{escaped(cell)}</td>' for title, cell in cells)
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{term(name, terms)}</th>' for name in ("N", "the model is", "why", *_COSTS))
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    table = f'{box("Regimes")}<table class="regimes">{body}</table></div>'
    late = any(NOT_AT_ITS_END in one.regime.qualifiers for one in found)
    note = f'<p class="quiet">{escaped(regimes.NOT_AT_END)}</p>' if late else ""
    title = '<p class="label">Regime by number of training rows</p>'
    return f'{whose}{title}<ul class="strip">{"".join(chips)}</ul>{folded("Why", table)}{note}'


def _class(regime: str) -> str:
    return regime.replace(" ", "-") if regime in REGIMES else UNDETERMINED.replace(" ", "-")


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


def _trend(study: Study, verdict: Estimates) -> str:
    """Return the slope of test recovery against log2 N and its maximum, in a sentence for each backbone."""
    found = []
    for backbone in study.backbones:
        trend = verdict.trend(backbone, study.reference)
        means = study.means("recovery", backbone, "test", trend["t"]) if trend else []
        if trend is None or not means:
            continue
        if max(abs(trend[name]) for name in ("slope", "low", "high")) < _LEAST_SLOPE:
            continue
        slope = with_interval(trend["slope"], trend["low"], trend["high"], digits=4)
        whose = f" of {backbone}" if len(study.backbones) > 1 else ""
        peak = max(means, key=lambda mean: mean.value).size
        found.append(
            f"Test recovery{whose} at t = {trend['t']:g}: a straight line against log2 N has the slope "
            f"{slope} per doubling; the highest value is at N = {count(peak)}."
        )
    return paragraph(found)
