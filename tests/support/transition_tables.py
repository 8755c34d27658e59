"""Rows of tables of small sweeps, with given values and intervals."""

from typing import Any

from tests.support.simulated_sweeps import GRIDS, row
from uddm_lightning.stats.intervals import Interval

SIZES = GRIDS["x4"]


LEARNED = {"coincidence": 0.02}


Rows = list[dict[str, str]]


def both(
    sizes: tuple[int, ...], train: list[float], test: list[float], half: float = 0.02, seed: int = 0, **more: object
) -> Rows:
    fields = {"n_draws": 512, "n_rows": 512} | LEARNED | more
    return [
        row(n, seed, "recovery", split, v, max(v - half, 0.0), min(v + half, 1.0), **fields)
        for split, values in (("train", train), ("test", test))
        for n, v in zip(sizes, values, strict=True)
    ]


def entropies(values: list[float], sizes: tuple[int, ...] = SIZES, half: float = 0.015, **more: object) -> Rows:
    pairs = zip(sizes, values, strict=False)
    return [row(n, 0, "entropy", "train", v, max(v - half, 0.0), v + half, n_draws=512, **more) for n, v in pairs]


def entry(result: dict[str, Any], method: str, t: float | None = 0.1) -> dict[str, Any]:
    return next(e for e in result["backbones"]["DiT"]["estimates"] if e["method"] == method and e["t"] in (t, None))


def gaps(result: dict[str, Any]) -> dict[int, Interval]:
    points = entry(result, "recovery")["sizes"]
    return {point["train_size"]: Interval(*(point[key] for key in ("value", "low", "high"))) for point in points}


# a typical sweep: memorizing, in transition, generalizing
TRAIN = [1.0, 0.999, 0.75, 0.33, 0.239, 0.241, 0.24]


TEST = [0.05, 0.09, 0.15, 0.22, 0.235, 0.24, 0.238]


FINE = 0.008  # half the width of an interval after 4,096 draws
