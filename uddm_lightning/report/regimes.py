"""In which regime each size is, and why, in words and numbers."""

from dataclasses import dataclass

from uddm_lightning.report.drawing import spelled
from uddm_lightning.report.study import Mean, Study
from uddm_lightning.report.verdict import Estimate, Verdict
from uddm_lightning.report.words import count, decimal

MEMORIZES, BETWEEN, GENERALIZES, NEITHER = "memorizes", "in transition", "generalizes", "cannot be told"
TOLERANCE = 0.02  # a gap that is surely below this counts as none, where the transition gives no convergence


@dataclass(frozen=True)
class Regime:
    """What a model trained on so many rows does.

    Args:
        size: rows in the training subset.
        name: memorizes, in transition, generalizes, or cannot be told.
        why: one or two sentences with the numbers.
    """

    size: int
    name: str
    why: str


def regimes(study: Study, verdict: Verdict, backbone: str) -> list[Regime]:
    """The regime of every size of a backbone, at the reference t."""
    t = study.reference
    estimate = verdict.at(backbone, "recovery", t)
    found = []
    gaps = {gap.size: gap for gap in study.differences("recovery", backbone, ("train", "test"), t)}
    highest = max((gap.value for gap in gaps.values()), default=0.0)
    plateau = estimate.plateau if estimate and estimate.plateau else highest
    for size in study.sizes:
        train, test = (study.mean("recovery", backbone, split, size, t) for split in ("train", "test"))
        if train is None and test is None:
            continue
        gap = gaps.get(size)
        if train is None or test is None or gap is None:
            missing = "train rows" if train is None else "test rows" if test is None else "both in one run"
            found.append(Regime(size, NEITHER, f"Recovery on {missing} was not measured at t = {t:g}."))
            continue
        name = _name(train, test, gap, plateau, estimate)
        found.append(Regime(size, name, _why(name, train, test, gap, plateau) + _entropy(study, backbone, size)))
    return found


def _name(train: Mean, test: Mean, difference: Mean, plateau: float, estimate: Estimate | None) -> str:
    gap, size, error = difference.value, difference.size, _half(difference)
    chance = max(train.chance or 0.0, test.chance or 0.0)
    if train.value <= chance + _half(train):
        return NEITHER
    if estimate and estimate.onset and size <= estimate.onset and gap > plateau / 2:
        return MEMORIZES
    if estimate and estimate.convergence and size >= estimate.convergence and gap < plateau / 2:
        return GENERALIZES
    if not (estimate and estimate.onset) and gap >= 0.9 * plateau and gap - error > TOLERANCE:
        return MEMORIZES
    if not (estimate and estimate.convergence) and abs(gap) <= error + TOLERANCE:
        return GENERALIZES
    return BETWEEN


def _why(name: str, train: Mean, test: Mean, gap: Mean, plateau: float) -> str:
    above = gap.value > plateau / 2
    side = "above" if above else "below"
    chance = test.chance if test.chance is not None else train.chance
    numbers = f"recovery is {decimal(train.value)} on its own rows and {decimal(test.value)} on unseen ones"
    numbers += f" (chance {decimal(chance)})" if chance is not None else ""
    against = f"the gap of {spelled(gap)} is {side} half of its plateau ({decimal(plateau / 2)})"
    if name == MEMORIZES:
        return f"Its rows are attractors: {numbers}; {against}."
    if name == GENERALIZES:
        return f"Unseen text is as stable as its own: {numbers}; {against}."
    if name == NEITHER:
        return f"Nothing is restored beyond chance: {numbers}."
    side = "nearer to memorizing" if above else "nearer to generalizing"
    return f"Its own rows still have an advantage: {numbers}; {against}, {side}."


def _entropy(study: Study, backbone: str, size: int) -> str:
    times = study.times("entropy")
    if not times or study.reference is None:
        return ""
    t = min(times, key=lambda other: abs(other - (study.reference or 0.0)))
    train = study.mean("entropy", backbone, "train", size, t)
    return f" Entropy on train rows: {decimal(train.value)} nats." if train else ""


def _half(mean: Mean) -> float:
    """Half the width of the interval."""
    return 0.0 if mean.low is None or mean.high is None else (mean.high - mean.low) / 2


def headline(study: Study, verdict: Verdict, backbone: str) -> str:
    """N* from recovery and from entropy alone, or why there is none, in a sentence."""
    whose = "This model" if len(study.backbones) == 1 else f"{backbone} ({study.parameters[backbone]:,} parameters)"
    t = study.reference
    recovery, entropy = (verdict.at(backbone, method, t) for method in ("recovery", "entropy"))
    if recovery and recovery.size:
        words = (
            f"{whose} stops memorizing at about N* = {count(recovery.size)} rows{_interval(recovery, True)} by recovery"
        )
        words += f" at t = {recovery.t:g}" if recovery.t is not None else ""
        if entropy and entropy.size:
            return f"{words}, and at about {count(entropy.size)} rows{_interval(entropy, False)} by entropy alone."
        return f"{words}. Entropy alone gives no number{_because(entropy)}."
    subject = whose.replace("This", "this") if len(study.backbones) == 1 else whose
    words = f"Recovery does not tell where {subject} stops memorizing{_because(recovery)}."
    if entropy and entropy.size:
        return f"{words} Entropy alone puts N* at about {count(entropy.size)} rows{_interval(entropy, True)}."
    return f"{words} Nor does entropy{_because(entropy)}."


def _interval(estimate: Estimate, full: bool) -> str:
    name = "95 % interval " if full else ""
    return f" ({name}{estimate.interval})" if estimate.interval else ""


def _because(estimate: Estimate | None) -> str:
    if estimate is None:
        return ": it was not measured or cannot be judged"
    return f": {estimate.why}" if estimate.why else ""
