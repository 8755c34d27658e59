"""Coverage of the intervals for every kind of value and every combination of parameters.

Shapes: M simulations, R rows.
"""

import csv
import math
import os
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from uddm_lightning.stats.intervals import _linear, _score

FLOAT = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results" / "coverage.csv"
COMMAND = "pytest -m bar -n 0 -s tests/stats/test_coverage.py"
ROWS = (8, 16, 64, 256, 1024)
RATES = (0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98)
PAIRS = ((0.98, 0.25), (0.98, 0.02), (0.5, 0.5), (0.75, 0.25), (0.95, 0.75), (0.25, 0.2))
RARE = ((0.05, 0.05), (0.05, 0.02), (0.02, 0.02), (0.98, 0.98))
MANY = 4096  # tokens per row in all its draws
TOGETHER = 0.99  # correlation at which all tokens of a row are equal
LARGEST = math.log(27)  # nats


class Cell(NamedTuple):
    """Parameters of a simulation.

    Attributes:
        kind: `rate`, of which a tenth of the tokens are trials; else entropies of half of the tokens: `entropy` has
            broad tokens around 1.9 nats and the rest near zero, `extremes` 0 or ln V, `spread` Beta distributed ones
            with the variance of 1/5 of that; `unbounded` is `entropy` whose largest value is not known.
        design: `single`, or the difference of two that are measured on rows `apart`.
        rows: number of rows.
        tokens: tokens per row.
        correlation: correlation of the tokens of a row.
        rate: expected rate, or share of broad tokens, or mean over ln V.
        second: the same for the subtracted value.
    """

    kind: str
    design: str
    rows: int
    tokens: int
    correlation: float
    rate: float
    second: float | None = None

    @property
    def least(self) -> float:
        """Return the promised coverage. Only rates allow rows with equal tokens. With as many tokens per row as
        repeated draws give, entropies of few rows are promised without correlation only.
        """
        strong = self.correlation > (0.0 if self.tokens == MANY and self.rows < 64 else 0.3)
        if strong and self.kind != "rate":
            return 0.0
        return 0.92 if self.kind == "unbounded" else 0.93

    @property
    def most(self) -> float:
        """Return the largest accepted coverage: 97.5 % with many rows and without rare events. For values with a small
        spread the allowance for unseen values always covers, so only the other bound can miss.
        """
        sides = [side for side in (self.rate, self.second) if side is not None]
        if not self.least or self.rows < 64 or (self.rate, self.second) in RARE or min(sides) < 0.05:
            return 1.0
        return 1.0 if max(sides) > 0.95 else 0.98 if self.kind == "spread" else 0.975


def cells() -> list[Cell]:
    found = []
    for kind in ("rate", "entropy", "extremes", "spread", "unbounded"):
        tokens = {"rate": (32, 128)}.get(kind, (26, 64))
        for rows in ROWS[:-1] if kind == "spread" else ROWS:  # tokens of `spread` are independent
            for length in tokens if rows < 1024 else tokens[:1]:
                for correlation in (0.0, 0.1, 0.3, TOGETHER):
                    where = kind, rows, length, correlation
                    found += [_cell("single", where, rate) for rate in RATES if seen(*where, rate)]
                    if kind in ("rate", "entropy") and rows < 1024:
                        found += [_cell("apart", where, *pair) for pair in (*PAIRS, *RARE)]
    drawn = [(rows, correlation) for rows in ROWS[:3] for correlation in (0.0, 0.1, 0.3)]
    return found + [Cell("entropy", "single", r, MANY, c, rate) for r, c in drawn for rate in RATES]


def _cell(design: str, where: tuple[str, int, int, float], *rates: float) -> Cell:
    return Cell(where[0], design, *where[1:], *rates)


def seen(kind: str, rows: int, tokens: int, correlation: float, rate: float) -> bool:
    """Return whether rare tokens occur: without a limit of the values no interval can allow for unseen ones."""
    frequent = rate >= 0.25 or (rate == 0.05 and rows >= 64) or rows >= 256
    return kind != "unbounded" or (correlation < TOGETHER and frequent)


@cache
def quantiles(rate: float, correlation: float) -> FLOAT:
    """Return 4,096 equally likely rates of a row with a Beta distribution."""
    if correlation == 0.0:
        return np.full(4096, rate)
    size = 1 / correlation - 1
    return stats.beta.ppf((np.arange(4096) + 0.5) / 4096, rate * size, (1 - rate) * size)


def measured(rng: np.random.Generator, kind: str, counts_MR: FLOAT, rates_MR: FLOAT) -> FLOAT:
    """Return the sums of the values of each row."""
    if kind == "spread":
        rates_MR, sums_MR = np.clip(rates_MR, 1e-12, 1 - 1e-12), np.zeros(counts_MR.shape)
        for token in range(counts_MR.max()):
            there_MR = counts_MR > token
            sums_MR[there_MR] += rng.beta(4 * rates_MR[there_MR], 4 * (1 - rates_MR[there_MR]))
        return LARGEST * sums_MR
    hits_MR = rng.binomial(counts_MR, rates_MR)
    if kind in ("rate", "extremes"):
        return hits_MR * (1.0 if kind == "rate" else LARGEST)
    # exponential values of mean 0.001 and values of mean 1.9 and deviation 0.8, all in nats
    narrow_MR = rng.gamma(np.maximum(counts_MR - hits_MR, 1e-9)) * 1e-3
    return narrow_MR + rng.gamma(np.maximum(6 * hits_MR, 1e-9)) * 1.9 / 6


def expected(kind: str, rate: float) -> float:
    """Return the mean value of a token."""
    return {"rate": rate, "extremes": LARGEST * rate, "spread": LARGEST * rate}.get(kind, 1e-3 + (1.9 - 1e-3) * rate)


def covered(cell: Cell, simulations: int) -> float:
    """Return the share of simulations whose interval contains the true value."""
    rng = np.random.default_rng(int.from_bytes(repr(tuple(cell)).encode()) % 2**63)
    rate = cell.kind == "rate"
    high = {"rate": 1.0, "unbounded": None}.get(cell.kind, LARGEST)
    shape = simulations, cell.rows
    places_MR, truth, sides = rng.integers(4096, size=shape), [], []
    for side in (cell.rate, cell.second):
        if side is not None:
            table = quantiles(side, cell.correlation)
            counts_MR = rng.binomial(cell.tokens, 0.1 if rate else 0.5, shape)
            sides.append((measured(rng, cell.kind, counts_MR, table[places_MR]), counts_MR.astype(float)))
            truth.append(expected(cell.kind, table.mean()))
            places_MR = rng.integers(4096, size=shape)
    bounds = [np.array(_score(*side, 0.0, high, trials=rate)) for side in sides]
    _, low_M, high_M = bounds[0] if cell.design == "single" else _linear([1.0, -1.0], np.stack(bounds, -1))
    wanted = truth[0] - (truth[1] if len(truth) > 1 else 0.0)
    return float(((low_M <= wanted + 1e-12) & (wanted - 1e-12 <= high_M)).mean())


def judge(chosen: Iterable[Cell], simulations: int, path: Path | None = None) -> None:
    """Print and write every cell and assert the limits, with an allowance of three standard errors."""
    missed = []
    header = (*Cell._fields, "coverage", "simulations", "least", "most")
    print(*header)  # noqa: T201 the table is the evidence
    with Path(path or os.devnull).open("w", newline="", encoding="utf-8") as file:
        if path:
            git = ["git", "rev-parse", "--short", "HEAD"]
            commit = subprocess.run(git, cwd=path.parent, capture_output=True, text=True, check=True).stdout.strip()
            versions = f"Python {platform.python_version()}, numpy {np.__version__}"
            file.write(f"# {COMMAND}; commit {commit}; {platform.machine()}, {versions}\n")
            file.write("# a cell passes within 3 standard errors of `least` and `most`\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for cell in chosen:
            coverage = covered(cell, simulations)
            row = (*cell, f"{coverage:.4f}", simulations, cell.least, cell.most)
            table.writerow(row)
            print(*row, flush=True)  # noqa: T201 as above
            below, above = (3 * math.sqrt(bar * (1 - bar) / simulations) for bar in (cell.least, cell.most))
            if not cell.least - below <= coverage <= cell.most + above:
                missed.append(row)
    assert not missed


@pytest.mark.bar
@pytest.mark.timeout(3600)
def test_every_cell_is_covered() -> None:
    judge(cells(), 2000, path=RESULTS)


@pytest.mark.slow
def test_every_second_cell_of_few_rows_is_covered() -> None:
    judge([cell for cell in cells() if cell.rows < 64 or (cell.rows == 64 and cell.kind != "spread")][::2], 2000)


@pytest.mark.parametrize("kind", ["rate", "entropy", "extremes"])
def test_some_cells_are_covered(kind: str) -> None:
    chosen = [cell for cell in cells() if cell.kind == kind and cell.rows in (8, 64)]
    judge(chosen[::19], 1000)
