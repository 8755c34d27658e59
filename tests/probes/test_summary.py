"""The table of the terminal with a line for each t."""

import math

from uddm_lightning.probes.summary import SummaryColumn, cell, time_table


def test_missing_values_and_columns() -> None:
    columns = [
        SummaryColumn("recovery", "recovery", "test"),
        SummaryColumn("train", "recovery", "train", optional=True),
        SummaryColumn("best", "best", "test", optional=True),
    ]
    records = [
        {"split": "test", "t": 0.5, "recovery": 0.25, "best": math.nan},
        {"split": "test", "t": 0.1, "recovery": None, "best": 0.75},
    ]
    lines = time_table([(columns, records), ([], records)])
    assert [line.split() for line in lines] == [["t", "recovery", "best"], ["0.1", "-", "0.750"], ["0.5", "0.250", "-"]]
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    assert time_table([]) == time_table([(columns, [])]) == []
    assert (cell(None), cell(math.nan), cell(1 / 3)) == ("-", "-", "0.333")
