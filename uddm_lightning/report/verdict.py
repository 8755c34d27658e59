"""Where the transition lies, as transition.json says it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uddm_lightning.report.study import Study, nearest, number
from uddm_lightning.report.words import count, visible

METHODS = {
    "recovery": "recovery",
    "entropy": "entropy, train rows",
    "entropy_samples": "entropy, own samples",
    "nelbo": "NELBO",
}


@dataclass(frozen=True)
class Estimate:
    """N* by one method at one t; what the data do not support is None.

    Args:
        method: a key of `METHODS`, or a newer name.
        t: corruption time, None for the NELBO.
        size: N*, in rows.
        low: lower end of its 95 % interval.
        high: upper end.
        onset: size at which train recovery leaves its plateau.
        convergence: size from which train and test are alike.
        plateau: the gap while memorizing.
        reason: why something is None.
    """

    method: str
    t: float | None
    size: float | None
    low: float | None
    high: float | None
    onset: float | None
    convergence: float | None
    plateau: float | None
    reason: str

    @property
    def name(self) -> str:
        """The method and its t, in words."""
        name = METHODS.get(self.method, visible(self.method.replace("_", " ")))
        return name if self.t is None else f"{name}, t = {self.t:g}"

    @property
    def why(self) -> str:
        """The reason without the keyword it may begin with."""
        keyword, _, rest = self.reason.strip().rstrip(".").partition(": ")
        return rest if rest and " " not in keyword else self.reason.strip().rstrip(".")

    @property
    def interval(self) -> str:
        """The interval in words, or nothing."""
        return "" if self.low is None or self.high is None else f"{count(self.low)} to {count(self.high)}"


class Verdict:
    """The estimates of all backbones.

    Args:
        transition: the content of transition.json.
    """

    def __init__(self, transition: Mapping[str, Any]) -> None:
        self.backbones: Mapping[str, Any] = transition.get("backbones") or {}
        self.notes = [str(note) for note in transition.get("notes") or ()]

    def estimates(self, backbone: str) -> list[Estimate]:
        """All estimates of a backbone, by method and t."""
        found = [_estimate(entry) for entry in self._of(backbone).get("estimates") or ()]
        order = list(METHODS)
        return sorted(found, key=lambda e: (order.index(e.method) if e.method in order else len(order), e.t or 0.0))

    def at(self, backbone: str, method: str, t: float | None) -> Estimate | None:
        """The estimate of a method whose t is nearest; None where the method was not tried."""
        mine = [estimate for estimate in self.estimates(backbone) if estimate.method == method]
        return min(mine, key=lambda e: abs((e.t or 0.0) - (t or 0.0))) if mine else None

    def best(self, backbone: str, method: str, t: float | None) -> Estimate | None:
        """The same, but one that has a size if any has."""
        mine = [estimate for estimate in self.estimates(backbone) if estimate.method == method and estimate.size]
        return min(mine, key=lambda e: abs((e.t or 0.0) - (t or 0.0))) if mine else self.at(backbone, method, t)

    def trend(self, backbone: str, t: float | None) -> Mapping[str, Any] | None:
        """How test recovery changes with every doubling of N, at the t nearest to `t`."""
        known = [entry for entry in self._of(backbone).get("trend") or () if number(entry.get("slope")) is not None]
        return min(known, key=lambda e: abs((number(e.get("t")) or 0.0) - (t or 0.0))) if known else None

    def agreement(self, backbone: str) -> list[Mapping[str, Any]]:
        """What transition.json says about the agreement of the methods, one entry for each t."""
        return list(self._of(backbone).get("agreement") or ())

    def _of(self, backbone: str) -> Mapping[str, Any]:
        return self.backbones.get(backbone) or {}


def three_sizes(study: Study, verdict: Verdict, backbone: str, sizes: list[int]) -> list[int]:
    """A small size, the one nearest to N* (else the middle of the logarithmic axis), and a large size."""
    if len(sizes) <= 2:
        return sizes
    estimate = verdict.best(backbone, "recovery", study.reference)
    middle = estimate.size if estimate and estimate.size else math.sqrt(sizes[0] * sizes[-1])
    return [sizes[0], nearest(sizes[1:-1], middle), sizes[-1]]


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    names = ("t", "size", "low", "high", "onset", "convergence", "plateau")
    values = {name: number(entry.get(name)) for name in names}
    for name in ("size", "low", "high", "onset", "convergence"):
        if values[name] is not None and (values[name] or 0.0) <= 0.0:
            values[name] = None  # no place on a logarithmic axis
    return Estimate(method=str(entry.get("method", "?")), reason=str(entry.get("reason") or ""), **values)
