"""Simulated sweeps over steps and sizes, with planted exponents of the times tau_gen and tau_mem.

The gap of a run grows as a power of the step until it saturates, and crosses the tolerance exactly at tau_mem =
c N^p exp(jitter). Test recovery and the NELBO cross their levels at tau_gen likewise. Values are measured with normal
noise of the size that the number of draws gives.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.support.simulated_sweeps import row
from uddm_lightning.stats.intervals import NORMAL, Interval

FLOAT = NDArray[np.float64]
COINCIDENCE, UNIGRAM = 0.08, 2.84


class Surface(NamedTuple):
    """Parameters of a simulation.

    Attributes:
        slope_mem: exponent of N in tau_mem.
        first: tau_mem at the smallest size, in steps.
        slope_gen: exponent of N in tau_gen.
        gen: tau_gen at the smallest size.
        jitter: standard deviation of ln tau between runs.
        power: exponent of the step in the gap below its plateau.
        draws: corrupted tokens behind a recovery are 3.2 times as many.
        seeds: number of seeds.
        sizes: numbers of training rows.
        steps: measured steps.
    """

    slope_mem: float = 1.0
    first: float = 100.0
    slope_gen: float = 0.0
    gen: float = 300.0
    jitter: float = 0.2
    power: float = 3.0
    draws: int = 2048
    seeds: int = 3
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    steps: tuple[int, ...] = (125, 250, 500, 1000, 2000, 4000)

    def taus(self, slope: float, first: float, rng: np.random.Generator) -> FLOAT:
        """Return the times (sizes, seeds)."""
        middle = first * (np.array(self.sizes, float) / self.sizes[0]) ** slope
        return middle[:, None] * np.exp(self.jitter * rng.standard_normal((len(self.sizes), self.seeds)))

    def risen(self, tau: FLOAT, level: float, top: float) -> FLOAT:
        """Return a curve over steps (sizes, seeds, steps) that crosses `level` at tau and ends at `top`."""
        raw = level / (1 - level / top) * (np.array(self.steps) / tau[..., None]) ** self.power
        return raw / (1 + raw / top)

    def gaps(self, rng: np.random.Generator) -> list[tuple[int, list[Interval]]]:
        """Return size and measured gap at each step, for every run."""
        gap = self.risen(self.taus(self.slope_mem, self.first, rng), 0.02, 0.8)
        error = math.sqrt(2 * 0.25 * 0.75 / (3.2 * self.draws))
        value = gap + error * rng.standard_normal(gap.shape)
        return [
            (size, [Interval(one, one - NORMAL * error, one + NORMAL * error) for one in value[k, s].tolist()])
            for k, size in enumerate(self.sizes)
            for s in range(self.seeds)
        ]

    def rows(self, rng: np.random.Generator) -> list[dict[str, str]]:
        """Return the rows of measurements.csv."""
        mem, gen = self.taus(self.slope_mem, self.first, rng), self.taus(self.slope_gen, self.gen, rng)
        gap, learned = self.risen(mem, 0.02, 0.7), self.risen(gen, 0.02, 0.22)
        error = math.sqrt(0.25 * 0.75 / (3.2 * self.draws))
        found = []
        for k, s, j in np.ndindex(gap.shape):
            size, step, share = self.sizes[k], self.steps[j], gap[k, s, j] / 0.7
            test = COINCIDENCE + learned[k, s, j]
            below = 5 * learned[k, s, j]  # the NELBO and test recovery reach their levels together
            nelbo = UNIGRAM - below + 2.0 * share
            values = {
                ("recovery", "test"): (test, error),
                ("recovery", "train"): (min(test + gap[k, s, j], 1.0), error),
                ("entropy", "test"): (UNIGRAM - 0.5 * below, 0.01),
                ("entropy", "train"): ((UNIGRAM - 0.5 * below) * (1 - share) + 0.02 * share, 0.01),
                ("entropy", "samples"): ((UNIGRAM - 0.6 * below) * (1 - share) + 0.05 * share, 0.02),
                ("nelbo", "test"): (nelbo, 0.01),
                ("nelbo", "train"): (max(nelbo - 5.0 * share, 0.0), 0.01),
            }
            for (kind, split), (mean, noise) in values.items():
                value = max(mean + noise * rng.standard_normal(), 0.0)
                more = {"step": step, "n_draws": self.draws, "coincidence": COINCIDENCE if kind == "recovery" else None}
                if kind == "nelbo":
                    more |= {"pool_unigram_entropy": UNIGRAM, "t_min": 0.05, "t_max": 1.0, "epochs": step * 32 / size}
                    more |= {"weight_norm": 30.0 + 2 * math.log(step)}
                high = value + NORMAL * noise
                high = min(high, 1.0) if kind == "recovery" else high
                found.append(row(size, s, kind, split, value, max(value - NORMAL * noise, 0.0), high, **more))
        return found
