"""Simulated sweeps with a known transition, with values for each row as in a real sweep.

Test rows and their noise are equal at every size, and so are train rows if the subset is larger than the measured
number of rows, so residuals correlate over sizes. Smaller subsets are a census with separate noise at every size.

Shapes: M sweeps, S seeds, K sizes, U draws, C = 2 K cells (train, then test), L corrupted tokens.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import optimize, stats

from tests.support.probes import DECLARED
from uddm_lightning.results.tables import COMMON, ROWS
from uddm_lightning.stats.intervals import mean_interval, rate_interval

FLOAT = NDArray[np.float64]

GRIDS: dict[str, tuple[int, ...]] = {
    "x4": tuple(2 * 4**k for k in range(7)),
    "x2": tuple(2 ** (k + 1) for k in range(13)),
}


def richards(kappa: float) -> Callable[[FLOAT], FLOAT]:
    return lambda u: (1 + (2 ** (1 / kappa) - 1) * np.exp(np.clip(u, -200, 200))) ** -kappa


# fall from 1 to 0 and are 1/2 at 0, with similar slopes there
SHAPES: dict[str, Callable[[FLOAT], FLOAT]] = {
    "logistic": richards(1.0),
    "probit": lambda u: stats.norm.cdf(-u / 1.6),
    "early": richards(1.5),
    "late": richards(1 / 1.5),
    "kappa 2": richards(2.0),
    "kappa 1/2": richards(0.5),
    "bump": lambda u: richards(1.0)(u) + 0.1 * np.exp(-((u + 3.0) ** 2)),  # rises by 5 % before it falls
}


BITS = np.array([number.bit_count() for number in range(64)], np.uint8)  # noise changes half of the 6 tokens on average


class Plan(NamedTuple):
    """Parameters of a simulation.

    Attributes:
        grid: name of the sizes.
        width: width of the fall, in spacings of the grid.
        place: position of the fall, in spacings above the smallest size.
        draws: number of draws of each split.
        seeds: number of seeds.
        shift: standard deviation of the fall's position between seeds, in ln N.
        cell: standard deviation between runs, relative to the largest possible value; smaller near the limits.
        shape: one of `SHAPES`; `slope`: linear in ln N from the smallest size to the largest; `open`: a logistic curve
            that still falls at the largest size.
        method: recovery or entropy.
        best: expected train recovery of a model that memorizes its rows.
    """

    grid: str = "x4"
    width: float = 0.5
    place: float = 3.25
    draws: int = 512
    seeds: int = 1
    shift: float = 0.0
    cell: float = 0.0
    shape: str = "logistic"
    method: str = "recovery"
    best: float = 0.98

    @property
    def sizes(self) -> tuple[int, ...]:
        return GRIDS[self.grid]

    @property
    def x(self) -> FLOAT:
        return np.log(np.array(self.sizes, float))

    @property
    def rng(self) -> np.random.Generator:
        """Return a generator that depends on the plan alone."""
        return np.random.default_rng(list(repr(tuple(self)).encode()))

    def height(self, x: FLOAT | float, shift: FLOAT | float = 0.0) -> FLOAT:
        """Return the remaining share of the fall at ln N = x."""
        spacing = float(np.ptp(self.x)) / (len(self.x) - 1)
        if self.shape == "slope":
            return 1.0 - (np.asarray(x) + shift - self.x[0]) / np.ptp(self.x)
        place = len(self.x) - 1.0 if self.shape == "open" else self.place
        shape = SHAPES["logistic" if self.shape == "open" else self.shape]
        return shape((np.asarray(x) - shift - self.x[0] - place * spacing) / (self.width * spacing))

    def sides(self, share: FLOAT) -> tuple[FLOAT, FLOAT]:
        """Return the expected train and test recovery; for the method entropy both are the expected entropy."""
        if self.method == "entropy":
            mean = 0.02 + 1.7 * (1 - share) + (0.1 if self.shape == "bump" else 0.0)  # stays above 0
            return mean, mean
        test = 0.22 - 0.12 * np.clip(share, 0, 1)  # rises by itself
        top = 0.83 if self.shape in ("slope", "bump") else self.best - 0.10
        return test + top * share, test

    @property
    def truth(self) -> float:
        """Return ln N_half, at which the expected curve is half way from its value at the smallest size to its lower
        level."""

        def curve(x: FLOAT | float) -> FLOAT:
            train, test = self.sides(self.height(x))
            return train - test if self.method == "recovery" else -train

        floor = 0.0 if self.method == "recovery" else float(curve(self.x[-1]))
        middle = (float(curve(self.x[0])) + floor) / 2
        return float(optimize.brentq(lambda x: float(curve(x)) - middle, self.x[0], self.x[-1]))

    @property
    def resolved(self) -> bool:
        """Return whether noise, and not the spacing of the sizes, determines the width of the interval."""
        return self.width >= 0.6 and self.seeds == 1


class Data(NamedTuple):
    """Measured sums and counts (M, S, C, U); entropy has no test cells."""

    sums: FLOAT
    counts: FLOAT


def measured(plan: Plan, count: int, rng: np.random.Generator) -> Data:
    """Simulate `count` sweeps."""
    K = len(plan.sizes)
    shift_MS1 = plan.shift * rng.standard_normal((count, plan.seeds, 1))
    noise_MSK = plan.cell * rng.standard_normal((count, plan.seeds, K))
    train_MSK, test_MSK = plan.sides(plan.height(plan.x, shift_MS1))
    shape = (count, plan.seeds, K, plan.draws)
    shared = np.array(plan.sizes) > plan.draws
    if plan.method == "entropy":
        mean_MSK1 = np.clip(train_MSK * (1 + 2 * noise_MSK), 1e-3, None)[..., None]
        z = _common(rng, shape, 0.6, shared)
        # the variance between rows is largest half way between the levels
        spread = 0.1 + 0.7 * np.sqrt(np.clip(mean_MSK1 * (1.72 - mean_MSK1), 0, None)) / 0.86
        counts = np.full(shape, 32.0)
        return Data(counts * mean_MSK1 * np.exp(spread * z - spread**2 / 2), counts)
    spread_MSK = 2 * np.sqrt(np.clip(train_MSK * (1 - train_MSK), 0, None))  # runs differ less near the limits
    parts = []
    for rate_MSK, together in ((train_MSK + noise_MSK * spread_MSK, shared), (test_MSK, np.ones(K, bool))):
        limit = stats.norm.ppf(np.clip(rate_MSK, 1e-9, 1 - 1e-9))[..., None].astype(np.float32)
        fixed = BITS[rng.integers(64, size=(count, plan.seeds, 1, plan.draws), dtype=np.uint8)]
        own = BITS[rng.integers(64, size=shape, dtype=np.uint8)]
        counts = np.where(together[:, None], fixed, own)
        sums = np.zeros(shape, np.uint8)
        # tokens of a row correlate, too
        limit = (limit - math.sqrt(0.2) * _common(rng, shape, 0.8, together)) / np.float32(math.sqrt(0.8))
        for token in range(6):
            sums += (token < counts) & (_common(rng, shape, 0.8, together) < limit)
        parts.append((sums.astype(float), counts.astype(float)))
    return Data(*(np.concatenate([part[i] for part in parts], 2) for i in (0, 1)))


def _common(rng: np.random.Generator, shape: tuple[int, ...], share: float, shared: NDArray[np.bool_]) -> FLOAT:
    """Return normal variables (M, S, K, U) that correlate over sizes with shared rows."""
    result = rng.standard_normal(shape, np.float32)
    result[:, :, shared] *= math.sqrt(1 - share)
    result[:, :, shared] += math.sqrt(share) * rng.standard_normal((*shape[:2], 1, shape[3]), np.float32)
    return result


def tables(plan: Plan, data: Data, index: int, t: float = 0.1) -> tuple[list[dict[str, str]], pa.Table]:
    """Return one sweep as rows of measurements.csv and as rows.parquet."""
    K, rows, draws = len(plan.sizes), [], []
    splits = ("train", "test") if plan.method == "recovery" else ("train",)
    for s in range(plan.seeds):
        for k, size in enumerate(plan.sizes):
            for place, split in enumerate(splits):
                sums_U, counts_U = (part[index, s, place * K + k] for part in data)
                interval = rate_interval if plan.method == "recovery" else mean_interval
                more = {"t": t, "sampler_steps": 40 if plan.method == "recovery" else None, "coincidence": 0.05}
                cell = row(size, s, plan.method, split, *interval(sums_U, counts_U), n_draws=len(sums_U), **more)
                rows.append(cell)
                about = {"run": cell["run"], "backbone": "DiT", "train_size": size, "seed": s, "metric": plan.method}
                about |= {"split": split, "step": 2000, "weights": "ema", "t": t, "sampler": "ancestral"}
                about["sampler_steps"] = more["sampler_steps"]
                names = ("recovered", "corrupted") if plan.method == "recovery" else ("entropy", "count")
                draws += [
                    {**about, "draw": u, "row_id": 10**6 * s + (u % size if split == "train" else u)}
                    | dict(zip(names, (float(sums_U[u]), int(counts_U[u])), strict=True))
                    for u in range(len(sums_U))
                ]
    return rows, parquet(draws)


def parquet(draws: list[dict[str, object]]) -> pa.Table:
    """Return draws in the form of rows.parquet."""
    about = [("run", pa.string()), ("backbone", pa.string()), ("train_size", pa.int64()), ("seed", pa.int64())]
    schema = pa.schema([*about, *ROWS])
    whole = {field.name for field in schema if pa.types.is_integer(field.type)}
    cast = [{k: int(v) if k in whole and v is not None else v for k, v in one.items()} for one in draws]
    return pa.Table.from_pylist(cast, schema=schema)


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
    """Return one row of the table, with all fields as text."""
    fields: dict[str, object] = {
        "run": f"{other.get('backbone', 'DiT')}-n{size}-s{seed}",
        "backbone": "DiT",
        "parameters": 1000,
        "train_size": size,
        "seed": seed,
        "metric": kind,
        "step": 2000,
        "weights": "ema",
        "split": split,
        "t": 0.1,
        "sampler": "" if kind == "nelbo" else "ancestral",
        kind: value,
        f"{kind}_low": low,
        f"{kind}_high": high,
        **other,
    }
    if kind == "nelbo":
        fields["t"] = None
    columns = (*COMMON, *DECLARED.columns)
    return {column: text(fields.get(column)) for column in columns}


def text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
