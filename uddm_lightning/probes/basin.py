"""Critical corruption: the time t up to which the chain returns to a row."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least, check_within
from uddm_lightning.core.keyed_random import Stream, key
from uddm_lightning.metrics import CriticalTime
from uddm_lightning.probes.base import Probe, check_times
from uddm_lightning.probes.measured_batch import MeasuredBatch, margins
from uddm_lightning.probes.summary import cell
from uddm_lightning.results.declarations import Scalar, corruption_time, count
from uddm_lightning.results.tables import Record
from uddm_lightning.samplers import Sampler
from uddm_lightning.training.task import DiffusionTask

LOST = 12  # consecutive chains that did not return, after which larger times are skipped
TIMES = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.22, 0.32, 0.47, 0.7, 1.0)
COLUMNS = (
    corruption_time(
        "critical_t", "mean time up to which the chain returns to the row with probability 1/2", interval=True
    ),
    corruption_time(
        "critical_t_identity", "critical_t of a chain that changes nothing: noise changes the row with probability 1/2"
    ),
    count("n_never_returned", "draws", "draws whose chains return in less than half of the cases at every t"),
    count("n_always_returned", "draws", "draws whose chains return in half of the cases or more from t = 1"),
)


class BasinProbe(Probe):
    """Measures the critical corruption t_c of each row: the time up to which most chains return to it.

    From each of several times, `repeats` chains start at the row, each with its own noise. A chain has returned if at
    most a share `tolerance` of the row's counted tokens is wrong at its end. Chains that start within this share are
    left out, since the noise has not left the row. The rest estimate the probability of returning for each row and
    time. t_c is the time at which it falls below 1/2 (see `critical_time`): 0 if it is below 1/2 at the smallest time,
    and the largest time if it never is.

    Returning is not monotone in t for single draws of noise; its probability is taken to be monotone. Times ascend, and
    a row whose last 12 chains have not returned is not measured at larger times.

    `critical_t_identity` is the time at which noise leaves the row with probability 1/2. A chain that changes nothing
    would end at the row in most cases from all smaller times.

    Args:
        times: times t in (0, 1] from which chains start, each moved to the nearest point of the sampler's grid.
        repeats: chains from each time for a row, at least 1.
        sampler: the chain; None takes the task's.
        tolerance: share of a row's counted tokens that may be wrong at the end of a chain that has returned, in [0, 1).
        include_special: count begin, end and separator positions too, as the paper does.
        num_rows: see `Probe`.
        num_rows_during_training: see `Probe`; by default basins are measured at the last step only.
        kwargs: arguments of `Probe`.
    """

    kind = "basin"
    title = "Critical corruption"
    reading = (
        "The radius of the basin of attraction around a row. Compare it with critical_t_identity: a chain without "
        "knowledge reaches that value. Memorized rows have a larger one."
    )
    columns = COLUMNS
    scalars = (Scalar("critical_t", "critical_t/{split}", front=()),)
    splits = ("train", "test", "random")
    every_test_row = False  # they would take too many chains

    def __init__(
        self,
        times: Sequence[float] = TIMES,
        repeats: int = 8,
        sampler: Sampler | None = None,
        tolerance: float = 0.0,
        include_special: bool = False,
        num_rows: int | None = 64,
        num_rows_during_training: int | None = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows=num_rows, num_rows_during_training=num_rows_during_training, **kwargs)
        check_within("[0, 1)", "basin.", tolerance=tolerance)
        check_at_least(1, "basin.", repeats=repeats)
        self.times = check_times(times, "basin.times")
        self.repeats = repeats
        self.sampler = sampler
        self.tolerance = tolerance
        self.include_special = include_special

    @override
    def measure(self, at: MeasuredBatch) -> None:
        sampler = self.sampler or at.task.sampler
        # the first point of the grid is 1 up to rounding
        times = sorted({min(1.0, round(sampler.grid(t)[0], 12)) for t in self.times})
        metric = self.metric(at, CriticalTime, length=at.batch.tokens_BL.shape[1], times=times)
        counted_B = at.counted_BL.sum(1)
        levels = {n: _chance_time(at.task, n, self._allowed(n)) for n in set(counted_B.tolist())}
        nothing_B = torch.tensor([levels[n] for n in counted_B.tolist()], dtype=torch.float64, device=counted_B.device)
        metric.update(*self._chains(at, sampler, times), nothing_B, *margins(at), at.ids)

    def _chains(self, at: MeasuredBatch, sampler: Sampler, times: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return the numbers of chains whose noise left each row, and of those that returned, int64 (B, T) each."""
        batch, B = at.batch, len(at.batch.tokens_BL)
        allowed_B = torch.tensor([self._allowed(n) for n in at.counted_BL.sum(1).tolist()], device=batch.keys_B.device)
        keys_BR = key(Stream.PROBE, torch.arange(self.repeats, device=batch.keys_B.device), batch.keys_B[:, None])
        led_BT = torch.zeros(B, len(times), dtype=torch.int64, device=batch.keys_B.device)
        returned_BT = torch.zeros_like(led_BT)
        vain_B = torch.zeros_like(led_BT[:, 0])  # consecutive chains that did not return
        for number, t in enumerate(times):
            asked_M = (vain_B < LOST).nonzero()[:, 0]
            if not len(asked_M):
                break
            rows_N = asked_M.repeat_interleave(self.repeats)
            x0_NL, counted_NL = batch.tokens_BL[rows_N], at.counted_BL[rows_N]
            valid_NL = None if batch.valid_BL is None else batch.valid_BL[rows_N]
            keys_N = keys_BR[asked_M].flatten()
            t_N = torch.full((len(rows_N),), t, dtype=torch.float64, device=keys_N.device)
            xt_NL = at.task.process.corrupt(x0_NL, t_N, keys_N, valid_NL).xt_BL
            led_N = (counted_NL & (xt_NL != x0_NL)).sum(1) > allowed_B[rows_N]
            xhat_NL = sampler(at.denoiser, xt_NL, t_N, keys_N, valid_NL, xt_NL == x0_NL)
            back_N = led_N & ((counted_NL & (xhat_NL != x0_NL)).sum(1) <= allowed_B[rows_N])
            led_M, back_M = (flags_N.view(-1, self.repeats).sum(1) for flags_N in (led_N, back_N))
            led_BT[asked_M, number], returned_BT[asked_M, number] = led_M, back_M
            vain_B[asked_M] = torch.where(back_M > 0, 0, vain_B[asked_M] + led_M)
        return led_BT, returned_BT

    def _allowed(self, counted: int) -> int:
        """Return the number of tokens that may be wrong at the end of a chain that has returned."""
        return math.floor(self.tolerance * counted + 1e-9)  # 0.29 * 100 is not 29

    @override
    def summary_lines(self, records: Sequence[Record]) -> list[str]:
        if not records:
            return []
        radii = ", ".join(f"{record['split']} {cell(record['critical_t'])}" for record in records)
        level = cell(records[0].get("critical_t_identity"))
        return [f"   critical corruption t, mean: {radii}; of a chain that does nothing {level}"]

    @override
    def compute_records(self, task: DiffusionTask) -> Iterable[Record]:
        sampler = self.sampler or task.sampler
        for (split, weights), metric in self.collected.items():
            result = metric.compute()._asdict()
            rows = result.pop("rows")
            known = [row["critical_t"] for row in rows if row["critical_t"] is not None]
            about = {"split": split, "weights": weights, "sampler": sampler.name, "sampler_steps": sampler.steps}
            yield {
                **about,
                **result,
                "_rows": rows,
                "_histograms": {"critical_t/{split}": known} if known else {},
            }


def _chance_time(task: DiffusionTask, counted: int, allowed: int) -> float:
    """Return the time at which noise changes more than `allowed` tokens with probability 1/2; 1 if it never does."""

    def stays(t: float) -> bool:
        process = task.process
        changed = float(process.change_probability(process.level(torch.tensor(t, dtype=torch.float64)).alpha))
        wrong = torch.arange(min(allowed, counted) + 1, dtype=torch.float64)
        law: Any = torch.distributions.Binomial(counted, torch.tensor(changed, dtype=torch.float64))
        return float(law.log_prob(wrong).exp().sum()) > 0.5

    low, high = 0.0, 1.0
    if stays(high):
        return high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if stays(middle) else (low, middle)
    return low
