"""Columns that probes declare."""

from tests.results.test_tables import read
from tests.support.probes import record
from uddm_lightning.results.tables import COMMON, update_table


def test_declared_columns_come_first_in_their_order(tmp_path):
    path = tmp_path / "measurements.csv"
    update_table(path, [record(mine=1.0, _hidden=2.0)], columns=("recovery", "nelbo"))
    update_table(path, [record(t=0.5, yours=3.0)], columns=("entropy", "recovery"))
    rows = read(path)
    assert list(rows[0]) == [*COMMON, "entropy", "recovery", "nelbo", "mine", "yours"]
    assert [(row["mine"], row["yours"]) for row in rows] == [("1.0", ""), ("", "3.0")]
