"""Critical corruption: the size of the basins of attraction of rows.

Shapes: B rows, L positions, M draws, T times.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor
from typing_extensions import override

from uddm_lightning.core.errors import check_at_least
from uddm_lightning.metrics.rowwise import FLOAT, ORIGIN, RowIds, RowwiseMetric, added, check, ratio
from uddm_lightning.stats.intervals import mean_interval


def critical_time(times_T: ArrayLike, returned_T: ArrayLike, led_T: ArrayLike) -> float:
    """Return the time at which the probability of returning to a row falls below 1/2.

    Isotonic regression, weighted by the number of chains, first makes the shares returned / led fall with t. The result
    is the time at which the line between the last share of at least 1/2 and the next share crosses 1/2, on a
    logarithmic axis of t.

    Args:
        times_T: times, ascending.
        returned_T: chains from each time that returned.
        led_T: chains from each time whose noise left the row. Times without any are left out.

    Returns:
        The time. It is 0 if fewer than half of the chains return from the smallest time on, the largest time if at
        least half return from every time, and NaN without chains.

    Example:
        >>> round(critical_time([0.1, 0.4], returned_T=[4, 0], led_T=[4, 4]), 3)
        0.2
    """
    times, returned, led = (np.asarray(values, np.float64) for values in (times_T, returned_T, led_T))
    times, returned, led = times[led > 0], returned[led > 0], led[led > 0]
    if not len(times):
        return float("nan")
    pools: list[list[float]] = []  # returned, led and number of times of each
    for some, all_ in zip(returned, led, strict=True):
        pools.append([some, all_, 1])
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] < pools[-1][0] * pools[-2][1]:
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    shares = np.concatenate([[some / all_] * int(number) for some, all_, number in pools])
    lost = int((shares >= 0.5).sum())  # place of the first time from which fewer than half return
    if lost in (0, len(times)):
        return float(times[-1]) if lost else 0.0
    part = (shares[lost - 1] - 0.5) / (shares[lost - 1] - shares[lost])
    return float(times[lost - 1] * (times[lost] / times[lost - 1]) ** part)


class BasinResult(NamedTuple):
    """Result of `CriticalTime`; NaN if nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in total.
        critical_t: mean critical corruption, in [0, 1], of the draws that have one.
        critical_t_low: lower end of its 95 % interval, clustered by unit of error; NaN with a single unit.
        critical_t_high: upper end.
        critical_t_identity: mean critical corruption of a chain that changes nothing (see `CriticalTime.update`).
        n_never_returned: draws with a critical corruption of 0.
        n_always_returned: draws with a critical corruption of 1.
        rows: a dictionary for each draw, by draw number: `row_id`, `place`, `critical_t` (None if no noise left
            the row), `critical_t_identity`, `margin` (of the counted tokens), `times`, and by time `led`
            (chains whose noise left the row) and `returned` (those of them that returned).
    """

    n_rows: int
    n_draws: int
    critical_t: float
    critical_t_low: float
    critical_t_high: float
    critical_t_identity: float
    n_never_returned: int
    n_always_returned: int
    rows: list[dict[str, Any]]


class CriticalTime(RowwiseMetric):
    """Average the critical corruption of rows, and keep the counts of each draw.

    A draw without counted tokens is left out.

    Args:
        length: L.
        times: T times in (0, 1], ascending.

    Example:
        >>> import torch
        >>> metric = CriticalTime(length=2, times=(0.1, 0.4))
        >>> led_BT, returned_BT = torch.tensor([[4, 4]]), torch.tensor([[4, 0]])
        >>> counted_BL, zeros_B = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
        >>> metric.update(led_BT, returned_BT, zeros_B, torch.ones(1, 2), counted_BL, RowIds(zeros_B, None, zeros_B))
        >>> round(metric.compute().critical_t, 3)
        0.2
    """

    def __init__(self, length: int, times: Sequence[float]) -> None:
        check_at_least(1, length=length)
        super().__init__()
        flags = [f"{what}_{place}" for what in ("margin", "counts") for place in range(length)]
        by_time = [f"{what}_{t}" for what in ("led", "returned") for t in times]
        self.declare("each", *flags, *by_time, "nothing", *ORIGIN)
        self.length = length
        self.times = tuple(times)

    @override
    def update(
        self, led_BT: Tensor, returned_BT: Tensor, nothing_B: Tensor, margin_BL: Tensor, counted_BL: Tensor, ids: RowIds
    ) -> None:
        """Add a batch.

        Args:
            led_BT: number of chains from each time whose noise left the row.
            returned_BT: number of those that returned.
            nothing_B: the time at which noise leaves the row with probability 1/2; it is the critical
                corruption of a chain that changes nothing.
            margin_BL: classification margins of the clean rows, in nats.
            counted_BL: bool, True at positions to count.
            ids: ids of the rows and of their draws.
        """
        check(ids.rows_B, counted_BL, margin_BL=margin_BL)
        check(ids.rows_B, counted_BL.any(1)[:, None], nothing_B=nothing_B[:, None])
        check(ids.rows_B, led_BT > 0, returned_BT=returned_BT)
        ids = ids._replace(rows_B=ids.rows_B.where(counted_BL.any(1), -1))
        columns_B = (*margin_BL.where(counted_BL, 0.0).T, *counted_BL.T, *led_BT.T, *returned_BT.T, nothing_B)
        self.record_draws("each", ids, *columns_B)

    @override
    def compute(self) -> BasinResult:
        """Return the mean over all draws, with its interval clustered by unit of error, and the draws."""
        rows, entries = self.entries("each")
        widths = [self.length, self.length, len(self.times), len(self.times)]
        margins, counts, led, returned, rest = np.split(entries, np.cumsum(widths), axis=1)
        critical = np.array([critical_time(self.times, *two) for two in zip(returned, led, strict=True)])
        known = ~np.isnan(critical)
        sums: FLOAT = added(self.units(rows, entries), np.stack([np.nan_to_num(critical), known], 1))
        mean = mean_interval(sums[:, 0], sums[:, 1], low=0.0, high=1.0)
        each = [
            {
                "row_id": int(rows[entry]),
                "place": int(entries[entry, -1]),
                "critical_t": float(critical[entry]) if known[entry] else None,
                "critical_t_identity": float(rest[entry, 0]),
                "margin": margins[entry][counts[entry] > 0].tolist(),
                "times": list(self.times),
                "led": led[entry].astype(np.int64).tolist(),
                "returned": returned[entry].astype(np.int64).tolist(),
            }
            for entry in np.argsort(entries[:, -1], kind="stable")
        ]
        nothing = ratio(float(rest[:, 0].sum()), len(rest))
        never, always = int((critical == 0.0).sum()), int((critical == 1.0).sum())
        return BasinResult(len(np.unique(rows)), len(rows), *mean, nothing, never, always, rows=each)
