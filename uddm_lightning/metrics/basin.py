"""Critical corruption: the radius of the basins around rows.

Shapes: B rows, L positions, M draws.
"""

from typing import Any, NamedTuple

from torch import Tensor
from typing_extensions import override

from uddm_lightning.intervals import mean_interval
from uddm_lightning.metrics.rowwise import RowwiseMetric, check


class BasinResult(NamedTuple):
    """What `CriticalTime` computes; NaN where nothing was counted.

    Attributes:
        n_rows: distinct rows.
        n_draws: measurements of rows in all.
        critical_t: mean critical corruption, in [0, 1].
        critical_t_low: lower end of its 95 % interval, clustered by row; NaN with a single row.
        critical_t_high: upper end.
        n_never: draws that did not return from any corruption.
        n_always: draws that returned from t = 1.
        rows: for each draw, by its place, what `CriticalTime.update` was told: `row_id`, `place`, `critical_t` and
            `margin`, the margins of its counted tokens.
    """

    n_rows: int
    n_draws: int
    critical_t: float
    critical_t_low: float
    critical_t_high: float
    n_never: int
    n_always: int
    rows: list[dict[str, Any]]


class CriticalTime(RowwiseMetric):
    """Averages the largest t from which rows return, and keeps that of each draw.

    A draw without a counted token has nothing to return to and is left out.

    Args:
        length: L.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError(f"`length` must be at least 1, got {length}.")
        super().__init__()
        self.declare("draws", "critical", "counted")
        flags = [f"{what}_{place}" for what in ("margin", "counts") for place in range(length)]
        self.declare("each", *flags, "critical", "place")
        self.length = length

    @override
    def update(
        self, critical_B: Tensor, margin_BL: Tensor, counted_BL: Tensor, rows_B: Tensor, places_B: Tensor
    ) -> None:
        """Adds a batch.

        Args:
            critical_B: critical corruption times in [0, 1].
            margin_BL: classification margins of the clean rows, in nats.
            counted_BL: bool, True at positions to count.
            rows_B: int64 row ids; -1 marks a filler row, which is ignored.
            places_B: int64 numbers of the draws.
        """
        check(rows_B, counted_BL, margin_BL=margin_BL)
        check(rows_B, counted_BL.any(1)[:, None], critical_B=critical_B[:, None], places_B=places_B[:, None])
        kept_B = counted_BL.any(1)
        rows_B = rows_B.where(kept_B, -1)
        self.record("draws", rows_B, critical_B, kept_B)
        self.record("each", rows_B, *margin_BL.where(counted_BL, 0.0).T, *counted_BL.T, critical_B, places_B)

    @override
    def compute(self) -> BasinResult:
        """Mean over all draws so far, with its interval clustered by row, and the draws themselves."""
        rows, draws, sums = self.per_row("draws")
        mean = mean_interval(sums["critical"], sums["counted"], low=0.0, high=1.0)
        ids, entries = self.entries("each")
        critical = entries[:, -2]
        each = []
        for place in entries[:, -1].argsort(kind="stable"):
            margins, counts = entries[place, : self.length], entries[place, self.length : 2 * self.length]
            each.append(
                {
                    "row_id": int(ids[place]),
                    "place": int(entries[place, -1]),
                    "critical_t": float(critical[place]),
                    "margin": margins[counts > 0].tolist(),
                }
            )
        never, always = int((critical == 0.0).sum()), int((critical == 1.0).sum())
        return BasinResult(len(rows), int(draws.sum()), *mean, n_never=never, n_always=always, rows=each)
