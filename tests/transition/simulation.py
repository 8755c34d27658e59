"""Sweeps with a planted N*: truth, measurements with their intervals, and the same as rows of a table."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from uddm_lightning.tables import COLUMNS

FLOAT = NDArray[np.float64]
Z = 1.959964

GRIDS: dict[str, tuple[int, ...]] = {
    "x4": tuple(2 * 4**k for k in range(7)),
    "x2": tuple(2 ** (k + 1) for k in range(13)),
    "irregular": (3, 8, 30, 64, 100, 300, 512, 2000, 8192),
}
# falling from 1 to 0 and 1/2 at 0; the widths are such that all are about as steep at 0
SHAPES: dict[str, Callable[[FLOAT], FLOAT]] = {
    "logistic": lambda u: 1 / (1 + np.exp(np.clip(u, -500, 500))),
    "probit": lambda u: stats.norm.cdf(-u / 1.6),
    "skew": lambda u: (1 + (2 ** (1 / 1.5) - 1) * np.exp(np.clip(u, -300, 300))) ** -1.5,
}


class Plan(NamedTuple):
    """How sweeps are simulated."""

    grid: str = "x4"
    width: float = 0.5  # scale w of the transition, in mean spacings of the grid
    place: float = 3.0  # N* in mean spacings above the smallest size
    draws: int = 1024
    seeds: int = 1
    shift: float = 0.0  # deviation of ln N* between seeds
    cell: float = 0.0  # deviation between runs, as a share of the plateau
    shape: str = "logistic"
    method: str = "recovery"

    @property
    def x(self) -> FLOAT:
        return np.log(np.array(GRIDS[self.grid], float))

    @property
    def spacing(self) -> float:
        return float(np.ptp(self.x)) / (len(self.x) - 1)

    @property
    def truth(self) -> float:
        """ln N*."""
        return float(self.x[0] + self.place * self.spacing)

    @property
    def bracketed(self) -> bool:
        """Whether the grid brackets the transition well: sizes on the slope, and two or more on each plateau.

        N* lies two spacings or more from the ends, and the last size but one on each side is three widths away, where
        less than 5 % of the way is missing: a plateau of a single size cannot be told from a slope.
        """
        ends = min(self.place, len(self.x) - 1 - self.place)
        second = min(self.truth - self.x[1], self.x[-2] - self.truth) / self.spacing
        alike = self.seeds > 1 and self.cell == 0.0  # seeds that differ by sampling alone do not occur
        return bool(self.width >= 0.4 and ends >= 2.0 and second >= 3 * self.width - 1e-9 and not alike)


def plans() -> list[Plan]:
    """The cells of the judge."""
    single = [
        Plan(grid, width, place, method=method)
        for grid, widths, places in (
            ("x4", (0.1, 0.25, 0.4, 0.7, 1.0), (1.5, 2.5, 3.0, 3.25)),
            ("x2", (0.1, 0.4, 1.0, 2.0), (3.5, 6.0, 6.3)),
            ("irregular", (0.1, 0.5, 1.0), (4.0, 4.4)),
        )
        for width in widths
        for place in places
        for method in ("recovery", "entropy")
    ]
    coarse = [
        Plan(grid, width, place, draws, method=method)
        for grid, place in (("x4", 3.25), ("x2", 6.3))
        for width in (0.1, 0.5)
        for draws in (128, 256)
        for method in ("recovery", "entropy")
    ]
    shapes = [
        Plan(grid, width, place, shape=shape, method=method)
        for grid, place in (("x4", 3.25), ("x2", 6.3))
        for width in (0.4, 0.8)
        for shape in ("probit", "skew")
        for method in ("recovery", "entropy")
    ]
    seeds = [
        Plan(grid, width, place, 1024, count, shift, cell, method=method)
        for count in (3, 5)
        for grid, place in (("x4", 3.25), ("x2", 6.3))
        for width in (0.1, 0.5)
        for shift, cell in ((0.15, 0.02), (0.0, 0.01), (0.0, 0.0))
        for method in ("recovery", "entropy")
    ]
    return single + coarse + shapes + seeds


class Sweeps(NamedTuple):
    """M simulated sweeps: value and bounds (M, S, K); `train` and `test` are what a gap is made of, else None."""

    value: FLOAT
    low: FLOAT
    high: FLOAT
    train: tuple[FLOAT, FLOAT, FLOAT] | None
    test: tuple[FLOAT, FLOAT, FLOAT] | None


def wilson(successes: FLOAT, trials: FLOAT, rows: FLOAT) -> tuple[FLOAT, FLOAT, FLOAT]:
    """Rate with Wilson's bounds; no more independent trials than rows if rows are few and all alike."""
    p = successes / trials
    z2 = np.broadcast_to(stats.t.ppf(0.975, np.maximum(rows - 1, 1)) ** 2, p.shape)
    n = np.where((p == 0) | (p == 1), np.minimum(trials, rows), trials)
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * p * (1 - p) / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    return p, np.minimum(p, middle - half), np.maximum(p, middle + half)


def sweeps(plan: Plan, count: int, rng: np.random.Generator) -> Sweeps:
    """Simulates `count` sweeps of a plan."""
    sizes = np.array(GRIDS[plan.grid], float)
    shape = (count, plan.seeds, len(sizes))
    centre = plan.truth + plan.shift * rng.standard_normal((count, plan.seeds, 1))
    s = SHAPES[plan.shape]((plan.x - centre) / (plan.width * plan.spacing))
    noise = plan.cell * rng.standard_normal(shape)
    rows = np.minimum(sizes, plan.draws)
    if plan.method == "recovery":  # test recovery rises by itself, so that the gap has a plateau of 0.75
        test = np.broadcast_to(0.2 + 0.02 * (1 - s), shape)
        sides = []
        for rate in (test + 0.75 * s + 0.75 * noise, test):
            trials = rng.poisson(3 * plan.draws, shape).astype(float)
            sides.append(wilson(rng.binomial(trials.astype(int), np.clip(rate, 0, 1)).astype(float), trials, rows))
        (p, pl, ph), (q, ql, qh) = sides
        value = p - q
        return Sweeps(value, value - np.hypot(p - pl, qh - q), value + np.hypot(ph - p, q - ql), sides[0], sides[1])
    mean = 1.7 * np.clip(1 - s + noise, 1e-3, None)  # nats
    # as in real runs: rows differ most half way between the plateaus
    deviation = (0.1 * mean + np.clip(mean * (1.7 - mean) / 1.7, 0, None)) / np.sqrt(plan.draws)
    value = mean + deviation * rng.standard_normal(shape)
    estimate = deviation * np.sqrt(rng.chisquare(plan.draws - 1, shape) / (plan.draws - 1))
    return Sweeps(value, value - Z * estimate, value + Z * estimate, None, None)


def table(plan: Plan, data: Sweeps, index: int, backbone: str = "DiT", t: float = 0.1) -> list[dict[str, str]]:
    """One simulated sweep as the rows of a table."""
    rows = []
    for s in range(plan.seeds):
        for k, size in enumerate(GRIDS[plan.grid]):
            if data.train is not None and data.test is not None:
                for split, side in (("train", data.train), ("test", data.test)):
                    rows.append(
                        row(size, s, "recovery", split, *(v[index, s, k] for v in side), backbone=backbone, t=t)
                    )
            else:
                values = (v[index, s, k] for v in (data.value, data.low, data.high))
                rows.append(row(size, s, "entropy", "train", *values, backbone=backbone, t=t))
    return rows


def row(
    size: int,
    seed: int,
    kind: str,
    split: str,
    value: float | None,
    low: float | None,
    high: float | None,
    **other: object,
) -> dict[str, str]:
    """One row of the table, all fields as text."""
    fields: dict[str, object] = {
        "run": f"{other.get('backbone', 'DiT')}-n{size}-s{seed}",
        "backbone": "DiT",
        "parameters": 1000,
        "size": size,
        "seed": seed,
        "kind": kind,
        "step": 2000,
        "weights": "ema",
        "split": split,
        "t": 0.1,
        "chain": "" if kind == "nelbo" else "ancestral",
        kind: value,
        f"{kind}_low": low,
        f"{kind}_high": high,
        **other,
    }
    if kind == "nelbo":
        fields["t"] = None
    return {column: text(fields.get(column)) for column in COLUMNS}


def text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
