"""Read transition sizes and regimes from transition.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uddm_lightning.report.formatting import count, listed, typeset
from uddm_lightning.results.reference import METHODS, SIZES
from uddm_lightning.results.study import Mean, Study, nearest
from uddm_lightning.transition.equivalence import Equivalence
from uddm_lightning.transition.regimes import Regime

MEANINGS = {  # by recovery
    "n_mem": "the largest size such that it and all smaller ones have a train recovery of at least 0.95",
    "n_half": "the size at which the gap between train and test recovery is half of its plateau, in log N",
    "n_gen": "the smallest size such that it and all larger ones have a gap equivalent to 0 and a test recovery above "
    "coincidence",
}


@dataclass(frozen=True)
class Crossing:
    """A transition size with its 95 % interval.

    Args:
        value: in training rows.
        low: lower end; None if it is not known.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> str:
        """The interval in words; empty without an interval."""
        return "" if self.low is None or self.high is None else f"{count(self.low)} to {count(self.high)}"

    @property
    def spelled(self) -> str:
        """The size with its interval."""
        return count(self.value) + (f" ({self.interval})" if self.interval else "")


class Estimate:
    """The transition sizes by one method at one t; a size that the data do not support is missing.

    Args:
        entry: an estimate of transition.json.

    Attributes:
        method: a key of `METHODS`.
        t: corruption time, None for the NELBO.
        crossings: the known sizes, by their keys in `SIZES`.
        reasons: why the other sizes are not known.
        deviance_per_df: of the curve behind N_half.
        plateau: level of the quantity at small sizes; None without N_half.
        floor: level at large sizes; None without N_half.
        means: the method's quantity at each size, ascending.
        equivalence: by size, whether the gap is equivalent to 0.
    """

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.method: str = entry["method"]
        self.t: float | None = entry["t"]
        self.crossings = {name: _crossing(entry[name]) for name in SIZES if entry[name]}
        self.reasons = {name: typeset(reason) for name, reason in entry["reasons"].items()}
        self.deviance_per_df: float | None = entry["deviance_per_df"]
        self.plateau: float | None = entry["plateau"]
        self.floor: float | None = entry["floor"]
        sizes = entry["sizes"]
        self.means = [Mean(one["train_size"], one["value"], one["low"], one["high"], ()) for one in sizes]
        self.equivalence = {one["train_size"]: Equivalence(one["equivalent"], one["draws_needed"]) for one in sizes}

    @property
    def name(self) -> str:
        """The method and its t, in words."""
        name = METHODS[self.method]
        return name if self.t is None else f"{name}, t = {self.t:g}"

    @property
    def missing(self) -> list[str]:
        """The missing sizes with their reasons, those of equal reasons together."""
        reasons = dict.fromkeys(why for name in SIZES if (why := self.why(name)))
        names = {why: listed([SIZES[name] for name in SIZES if self.why(name) == why]) for why in reasons}
        return [f"{names[why]}: {why}" for why in reasons]

    def why(self, number: str) -> str:
        """Return why one of `SIZES` is missing; "" if it is not, or without a reason."""
        return "" if number in self.crossings else self.reasons.get(number, "")


class SizeRegime:
    """The regime of a size.

    Args:
        entry: a regime of transition.json.

    Attributes:
        size: training rows.
        regime: the judgement.
        by_seed: the regime of each seed's run alone.
    """

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.size: int = entry["train_size"]
        reason = typeset(entry["reason"])
        self.regime = Regime(entry["regime"], tuple(entry["qualifiers"]), reason, entry["draws_needed"])
        self.by_seed: Mapping[int, str] = {one["seed"]: one["regime"] for one in entry["by_seed"]}


@dataclass(frozen=True)
class Headline:
    """The transition size of the headline.

    Args:
        method: a key of `METHODS`.
        t: corruption time.
        estimate: a key of `SIZES`.
        crossing: the size.
        qualifier: limits of the headline; "" without any.
    """

    method: str
    t: float | None
    estimate: str
    crossing: Crossing
    qualifier: str


class Estimates:
    """Estimates and regimes of all backbones.

    Args:
        transition: the content of transition.json.

    Attributes:
        comparison: ratios of transition sizes between models, see `transition.comparison`.
    """

    def __init__(self, transition: Mapping[str, Any]) -> None:
        self.backbones: Mapping[str, Any] = transition.get("backbones", {})
        self.notes: Sequence[str] = [typeset(note) for note in transition.get("notes", ())]
        self.comparison: Sequence[dict[str, Any]] = transition.get("comparison", ())
        self._headlines: Mapping[str, Any] = transition.get("headline", {})

    def estimates(self, backbone: str) -> list[Estimate]:
        """Return all estimates of a backbone, by method and t."""
        return [Estimate(entry) for entry in self._of(backbone, "estimates")]

    def at(self, backbone: str, method: str, t: float | None) -> Estimate | None:
        """Return the estimate of a method at the nearest t; None without an estimate."""
        mine = [estimate for estimate in self.estimates(backbone) if estimate.method == method]
        return min(mine, key=lambda e: abs((e.t or 0.0) - (t or 0.0))) if mine else None

    def half(self, backbone: str, method: str, t: float | None) -> "Crossing | None":
        """Return N_half by a method at the nearest t, if there is one."""
        found = self.at(backbone, method, t)
        return found.crossings.get("n_half") if found else None

    def gaps(self, backbone: str, method: str, t: float | None) -> list[Mean]:
        """Return train minus test recovery, or test minus train NELBO, by size; empty if not measured at this t."""
        found = self.at(backbone, method, t)
        return found.means if found is not None and found.t == t else []

    def regimes(self, backbone: str) -> list[SizeRegime]:
        """Return the regime of every size, ascending."""
        return [SizeRegime(entry) for entry in self._of(backbone, "regimes")]

    def headline(self, backbone: str) -> Headline | None:
        """Return the headline, or None."""
        entry = self._headlines.get(backbone)
        if not entry:
            return None
        return Headline(entry["method"], entry["t"], entry["estimate"], _crossing(entry), typeset(entry["qualifier"]))

    def trend(self, backbone: str, t: float | None) -> Mapping[str, Any] | None:
        """Return the trend of test recovery at the t nearest to `t`."""
        known = [entry for entry in self._of(backbone, "trend") if entry["slope"] is not None]
        return min(known, key=lambda entry: abs(entry["t"] - (t or 0.0))) if known else None

    def agreement(self, backbone: str) -> Sequence[Mapping[str, Any]]:
        """Return the agreement of the methods, an entry for each t."""
        return self._of(backbone, "agreement")

    def over_steps(self, backbone: str) -> Mapping[str, Any] | None:
        """Return regimes, times and sizes over the training steps; None if too few steps were measured."""
        entry: Mapping[str, Any] | None = self.backbones.get(backbone, {}).get("over_steps")
        return entry

    def _of(self, backbone: str, name: str) -> Sequence[Mapping[str, Any]]:
        entries: Sequence[Mapping[str, Any]] = self.backbones.get(backbone, {}).get(name, ())
        return entries


def three_sizes(study: Study, verdict: Estimates, backbone: str, sizes: list[int]) -> list[int]:
    """Return a small size, the size nearest to the transition (or the middle in log N), and a large size."""
    if len(sizes) <= 2:
        return sizes
    half = verdict.half(backbone, "recovery", study.reference)
    middle = half.value if half else math.sqrt(sizes[0] * sizes[-1])
    return [sizes[0], nearest(sizes[1:-1], middle), sizes[-1]]


def _crossing(entry: Mapping[str, Any]) -> Crossing:
    return Crossing(entry["value"], entry["low"], entry["high"])
