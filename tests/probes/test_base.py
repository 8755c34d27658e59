"""Checks of the base class of probes, and its treatment of fillers, limits and earlier notes."""

import pytest
import torch

from uddm_lightning.callbacks import BasinTable, SequenceTable
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.probes import BasinProbe, EntropyProbe, NelboProbe, RecoveryProbe, SampleProbe, TrajectoryProbe

PROBES = [RecoveryProbe, EntropyProbe, NelboProbe, TrajectoryProbe, BasinProbe, SampleProbe]


@pytest.mark.parametrize("probe", PROBES)
def test_limits_are_checked_by_name(probe):
    kind = probe.kind
    with pytest.raises(ValueError, match=rf"`{kind}.num_rows` must be at least 1, got 0"):
        probe(num_rows=0)
    with pytest.raises(ValueError, match=rf"`{kind}.num_rows_during_training` must be at least 0, got -1"):
        probe(num_rows_during_training=-1)
    with pytest.raises(ValueError, match=rf"`{kind}.weights` must name ema, raw or both"):
        probe(weights=[])


@pytest.mark.parametrize("probe", [RecoveryProbe, EntropyProbe])
def test_times_are_checked_sorted_and_measured_once(probe):
    with pytest.raises(ValueError, match=rf"`{probe.kind}.times` must lie in \(0, 1\], got 0.0"):
        probe(times=[0.0, 0.5])
    with pytest.raises(ValueError, match=rf"`{probe.kind}.times` must name at least one time"):
        probe(times=[])
    assert probe(times=[0.5, 0.1, 0.5]).times == (0.1, 0.5)


@pytest.mark.parametrize("table", [SequenceTable, BasinTable])
def test_a_negative_number_of_rows_is_refused(table):
    with pytest.raises(ValueError, match="`rows` must be at least 0, got -1"):
        table(rows=-1)


def batch(special: torch.Tensor | None = None, valid: torch.Tensor | None = None) -> TokenBatch:
    rows = torch.tensor([3, 1, -1])
    return TokenBatch(torch.arange(12).view(3, 4), rows, torch.arange(3), rows, rows.double(), valid, special, 7, 0)


def test_padding_never_counts_and_special_positions_only_on_request():
    special = torch.tensor([[True, False, False, True]] * 3)
    valid = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])
    counted = RecoveryProbe().count_mask(batch(special, valid))
    assert counted.sum(1).tolist() == [2, 1, 0]
    assert RecoveryProbe(include_special=True).count_mask(batch(special, valid)).sum(1).tolist() == [4, 2, 1]
    assert RecoveryProbe().count_mask(batch()).all()
