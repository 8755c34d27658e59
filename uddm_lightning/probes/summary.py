"""Tables of the terminal, printed after each validation."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from uddm_lightning.results.tables import Record


@dataclass(frozen=True)
class SummaryColumn:
    """A column of a table with a line for each t.

    Args:
        head: its heading.
        column: of measurements.csv.
        split: whose records it shows.
        width: of its cells; a longer heading makes it wider.
        optional: left out if no record has a value.
    """

    head: str
    column: str
    split: str
    width: int = 7
    optional: bool = False


def time_table(groups: Iterable[tuple[Sequence[SummaryColumn], Sequence[Record]]]) -> list[str]:
    r"""Return the lines of a table with a line for each t; empty if there are no records.

    Args:
        groups: columns that stand beside each other, with the records of one probe.

    Example:
        >>> records = [{"split": "test", "t": t, "recovery": 1 - t} for t in (0.25, 0.5)]
        >>> print("\n".join(time_table([([SummaryColumn("recovery: test", "recovery", "test")], records)])))
               t  recovery: test
            0.25           0.750
             0.5           0.500
    """
    heads: list[str] = []
    values: dict[float, list[str]] = {}
    shown = [(columns, records) for columns, records in groups if columns]
    for t in sorted({record["t"] for _, records in shown for record in records}):
        values[t] = []
    for columns, records in shown:
        found = {(record["split"], record["t"]): record for record in records}
        cells = {one: [found.get((one.split, t), {}).get(one.column) for t in values] for one in columns}
        kept = [one for one in columns if not one.optional or any(cell(value) != "-" for value in cells[one])]
        widths = {one: max(one.width, len(one.head)) for one in kept}
        heads.append(" ".join(f"{one.head:>{widths[one]}}" for one in kept))
        for place, line in enumerate(values.values()):
            line.append(" ".join(f"{cell(cells[one][place]):>{widths[one]}}" for one in kept))
    lines = [f"{t:>8g}  " + "   ".join(line) for t, line in values.items()]
    return [f"{'t':>8}  " + "   ".join(heads), *lines] if lines else []


def cell(value: float | None) -> str:
    """Return a number with three digits, or "-" for a missing one."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"
