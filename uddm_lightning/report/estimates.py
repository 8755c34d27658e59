"""Read transition sizes and regimes from transition.json."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uddm_lightning.report.formatting import count, visible
from uddm_lightning.results.reference import METHODS, SIZES
from uddm_lightning.results.study import Mean, Study, nearest
from uddm_lightning.results.tables import number
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


@dataclass(frozen=True)
class Estimate:
    """The transition sizes by one method at one t; a size that the data do not support is missing.

    Args:
        method: a key of `METHODS`, or a newer name.
        t: corruption time, None for the NELBO.
        crossings: the known sizes, by their keys in `SIZES`.
        reasons: why the other sizes are not known.
        deviance_per_df: of the curve behind N_half.
        plateau: level of the quantity at small sizes; None without N_half.
        floor: level at large sizes; None without N_half.
        means: the method's quantity at each size.
        equivalent: by size, whether the gap is equivalent to 0; None where these draws cannot tell.
        draws_needed: number of draws that would decide, by undecided size.
    """

    method: str
    t: float | None
    crossings: Mapping[str, Crossing]
    reasons: Mapping[str, str]
    deviance_per_df: float | None
    plateau: float | None
    floor: float | None
    means: tuple[Mean, ...]
    equivalent: Mapping[int, bool | None]
    draws_needed: Mapping[int, int]

    @property
    def name(self) -> str:
        """The method and its t, in words."""
        name = METHODS.get(self.method, visible(self.method.replace("_", " ")))
        return name if self.t is None else f"{name}, t = {self.t:g}"

    def why(self, number: str) -> str:
        """Return why one of `SIZES` is missing; "" if it is not, or without a reason."""
        return "" if number in self.crossings else self.reasons.get(number, "").strip().rstrip(".")


@dataclass(frozen=True)
class SizeRegime:
    """The regime of a size, with the values that decided.

    Args:
        size: training rows.
        regime: the judgement.
        by_seed: the regime of each seed's run alone.
    """

    size: int
    regime: Regime
    by_seed: Mapping[int, str]


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
    """

    def __init__(self, transition: Mapping[str, Any]) -> None:
        self.backbones: Mapping[str, Any] = transition.get("backbones") or {}
        self.notes = [str(note) for note in transition.get("notes") or ()]
        self._headlines: Mapping[str, Any] = transition.get("headline") or {}

    def estimates(self, backbone: str) -> list[Estimate]:
        """Return all estimates of a backbone, by method and t."""
        found = [_estimate(entry) for entry in self._of(backbone).get("estimates") or ()]
        order = list(METHODS)
        return sorted(found, key=lambda e: (order.index(e.method) if e.method in order else len(order), e.t or 0.0))

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
        return list(found.means) if found is not None and found.t == t else []

    def regimes(self, backbone: str) -> list[SizeRegime]:
        """Return the regime of every size, ascending."""
        return sorted(map(_size_regime, self._of(backbone).get("regimes") or ()), key=lambda found: found.size)

    def headline(self, backbone: str) -> Headline | None:
        """Return the headline, or None."""
        entry = self._headlines.get(backbone) or {}
        if (crossing := _crossing(entry)) is None:
            return None
        method, estimate, qualifier = (str(entry.get(name) or "") for name in ("method", "estimate", "qualifier"))
        return Headline(method, number(entry.get("t")), estimate, crossing, qualifier)

    def trend(self, backbone: str, t: float | None) -> Mapping[str, Any] | None:
        """Return the trend of test recovery at the t nearest to `t`."""
        known = [entry for entry in self._of(backbone).get("trend") or () if number(entry.get("slope")) is not None]
        return min(known, key=lambda e: abs((number(e.get("t")) or 0.0) - (t or 0.0))) if known else None

    def agreement(self, backbone: str) -> list[Mapping[str, Any]]:
        """Return the agreement of the methods, an entry for each t."""
        return list(self._of(backbone).get("agreement") or ())

    def _of(self, backbone: str) -> Mapping[str, Any]:
        return self.backbones.get(backbone) or {}


def three_sizes(study: Study, verdict: Estimates, backbone: str, sizes: list[int]) -> list[int]:
    """Return a small size, the size nearest to the transition (or the middle in log N), and a large size."""
    if len(sizes) <= 2:
        return sizes
    half = verdict.half(backbone, "recovery", study.reference)
    middle = half.value if half else math.sqrt(sizes[0] * sizes[-1])
    return [sizes[0], nearest(sizes[1:-1], middle), sizes[-1]]


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    crossings = {name: found for name in SIZES if (found := _crossing(entry.get(name)))}
    reasons = {str(name): str(reason) for name, reason in (entry.get("reasons") or {}).items() if reason}
    sizes = [one for one in entry.get("sizes") or () if number(one.get("value")) is not None]
    means = sorted(map(_mean, sizes), key=lambda mean: mean.size)
    plateau, floor = (number(entry.get(name)) if "n_half" in crossings else None for name in ("plateau", "floor"))
    return Estimate(
        method=str(entry.get("method", "?")),
        t=number(entry.get("t")),
        crossings=crossings,
        reasons=reasons,
        deviance_per_df=number(entry.get("deviance_per_df")),
        plateau=plateau,
        floor=floor,
        means=tuple(means),
        equivalent={int(one["train_size"]): one.get("equivalent") for one in sizes},
        draws_needed={int(one["train_size"]): int(one["draws_needed"]) for one in sizes if one.get("draws_needed")},
    )


def _mean(one: Mapping[str, Any]) -> Mean:
    value, low, high = (number(one.get(name)) for name in ("value", "low", "high"))
    assert value is not None
    return Mean(int(one["train_size"]), value, low, high, ())


def _crossing(entry: Mapping[str, Any] | None) -> Crossing | None:
    """Return a size with its interval; None for sizes that are not above 0."""
    value, low, high = (number((entry or {}).get(name)) for name in ("value", "low", "high"))
    if value is None or value <= 0.0:
        return None
    ends = [end if end is not None and end > 0.0 else None for end in (low, high)]
    return Crossing(value, *ends)


def _size_regime(entry: Mapping[str, Any]) -> SizeRegime:
    qualifiers = tuple(map(str, entry.get("qualifiers") or ()))
    regime = Regime(str(entry.get("regime")), qualifiers, str(entry.get("reason") or ""), entry.get("draws_needed"))
    by_seed = {int(one["seed"]): str(one.get("regime")) for one in entry.get("by_seed") or ()}
    return SizeRegime(int(entry["train_size"]), regime, by_seed)
