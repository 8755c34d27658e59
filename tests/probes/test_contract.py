"""What every probe promises, for all probes of the package, found by themselves, and for one from outside of it."""

from typing import Any

import pytest

from tests.support.plugins import plugins
from uddm_lightning.probes import Probe
from uddm_lightning.results.tables import COMMON

PROBES = plugins(Probe)


def test_all_probes_are_found() -> None:
    kinds = {probe.kind for probe in PROBES}
    assert kinds >= {"recovery", "entropy", "nelbo", "trajectory", "basin", "samples"}
    assert len(kinds) == len(PROBES), "kinds are unique"
    metrics = [metric for probe in PROBES for metric in probe.metrics()]
    assert len(metrics) == len(set(metrics))


@pytest.mark.parametrize("probe", PROBES)
def test_every_column_says_what_it_is(probe: type[Probe]) -> None:
    names = [name for column in probe.columns for name in column.names]
    assert len(names) == len(set(names)), "names are unique"
    assert not set(names) & set(COMMON)
    for column in probe.columns:
        assert column.unit, column
        assert column.meaning, column
        assert not column.meaning.endswith("."), column
        assert column.low < column.high
    assert probe.title
    of_the_probe = {*names, "t"}
    for scalar in probe.scalars:
        assert scalar.column in of_the_probe
    for outcome in probe.outcomes:
        assert outcome.column in of_the_probe
        assert set(outcome.splits) <= set(probe.splits)
    for summary in probe.summary_columns:
        assert summary.column in of_the_probe
        assert summary.split in probe.splits
    if probe.time_curve:
        assert {probe.time_curve.column, *(name for name, _ in probe.time_curve.levels)} <= of_the_probe


def test_a_column_that_two_probes_have_is_the_same_in_both() -> None:
    found: dict[str, tuple[Any, ...]] = {}
    for column in (column for probe in PROBES for column in probe.columns):
        mine = (column.unit, column.low, column.high, column.interval)
        assert found.setdefault(column.name, mine) == mine, column.name
