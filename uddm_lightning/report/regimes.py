"""The headline and the regimes in words; `transition.regimes` judges them."""

from collections.abc import Sequence

from uddm_lightning.report.estimates import MEANINGS, Estimates, Headline, SizeRegime
from uddm_lightning.report.formatting import count, listed
from uddm_lightning.results.reference import METHODS, SIZES
from uddm_lightning.results.study import Study
from uddm_lightning.transition.regimes import NOT_AT_ITS_END, NOT_LEARNED, UNDETERMINED, Regime

NOT_AT_END = (
    f'"{NOT_AT_ITS_END.capitalize()}" means that the test NELBO still fell over the last three validations, so longer '
    "training may change the regime."
)


def headline(study: Study, verdict: Estimates, backbone: str) -> tuple[str, str]:
    """Return the headline of a backbone: the transition size, or that there is none; and a text about it.

    The text gives the meaning and the limits of the size, or why there is none, and the progress of training.
    """
    whose = "" if len(study.backbones) == 1 else f"{backbone} ({study.parameters[backbone]:,} parameters): "
    found, regimes = verdict.headline(backbone), verdict.regimes(backbone)
    unlearned = [count(one.size) for one in regimes if one.regime.name == NOT_LEARNED]
    trained = _trained(study, backbone)
    if found is None or (regimes and len(unlearned) == len(regimes)):
        because = _because(study, verdict, backbone, regimes)
        none = f"{whose}no transition size." if whose else "No transition size."
        return none, f"{because[:1].upper()}{because[1:]}. {trained}"
    is_defined = found.method == "recovery" and found.estimate in MEANINGS
    more = [f"{SIZES[found.estimate]} is {MEANINGS[found.estimate]}."] if is_defined else []
    if found.qualifier:
        more.append(f"Limits: {found.qualifier.rstrip('.')}.")
    if unlearned and NOT_LEARNED not in found.qualifier:
        more.append(f"Limits: N = {listed(unlearned)} {'have' if len(unlearned) > 1 else 'has'} {NOT_LEARNED}.")
    return whose + _size(found), " ".join([*more, trained])


def _size(found: Headline) -> str:
    """Return a transition size, as a sentence."""
    at = METHODS[found.method] + ("" if found.t is None else f" at t = {found.t:g}")
    interval = f" (95 % interval {found.crossing.interval})" if found.crossing.interval else ""
    return f"{SIZES[found.estimate]} = {count(found.crossing.value)} training rows{interval} by {at}."


def _trained(study: Study, backbone: str) -> str:
    """Return the training step of the measurements, as a sentence."""
    steps = sorted({int(row["step"]) for row in study.rows if row["backbone"] == backbone})
    return f"Measured after {listed([f'{step:,}' for step in steps])} training steps."


def _because(study: Study, verdict: Estimates, backbone: str, regimes: Sequence[SizeRegime]) -> str:
    """Return why there is no headline."""
    if regimes and all(found.regime.name == NOT_LEARNED for found in regimes):
        return "no size has learned yet"
    if regimes and all(found.regime.name == UNDETERMINED for found in regimes):
        return "no size has a known regime"
    estimate = verdict.at(backbone, "recovery", study.reference)
    if estimate is None:
        return "recovery of train and test rows was not measured or not judged"
    return "; ".join(f"no {one}" for one in estimate.missing) or "the estimates were not judged"


def sentence(regime: Regime) -> str:
    """Return the reason of a regime, with its qualifiers."""
    return " ".join([regime.reason, *(f"{text[:1].upper()}{text[1:]}." for text in regime.qualifiers)])


def seeds(found: SizeRegime) -> str:
    """Return the regimes of the seeds if they differ from that of the size, otherwise an empty text."""
    if len(found.by_seed) < 2 or set(found.by_seed.values()) == {found.regime.name}:
        return ""
    texts = [f"seed {seed} {name}" for seed, name in sorted(found.by_seed.items())]
    return f"Judged one by one: {listed(texts)}."
