"""ConditionalEntropy against means under masks."""

import math

import pytest
import torch

from tests.support.metrics import VOCAB, feed, toy
from uddm_lightning.metrics import ConditionalEntropy, RowIds
from uddm_lightning.stats.intervals import mean_interval


def test_entropy_equals_masked_means() -> None:
    d = toy()
    metric = ConditionalEntropy(VOCAB, 8)
    feed(metric, d)
    result = metric.compute()
    real = d["counted"] & (d["rows"] >= 0)[:, None]
    hit, restored, h = d["xt"] != d["x0"], d["xhat"] == d["x0"], d["real"].double()
    masks = {
        "entropy": real,
        "entropy_corrupted": real & hit,
        "entropy_clean": real & ~hit,
        "entropy_recovered": real & hit & restored,
        "entropy_unrecovered": real & hit & ~restored,
    }
    for name, mask in masks.items():
        assert getattr(result, name) == pytest.approx(float(h[mask].mean()))
    assert result.entropy_leave_one_out == pytest.approx(float(h[real].mean()) / 3)
    leaks = d["leak"][d["leak_counted"] & (d["rows"] >= 0)]
    assert result.self_token_influence == pytest.approx(float(leaks.mean()))
    by_row = [(d["rows"] == row)[:, None] & real for row in d["rows"].unique() if row >= 0]
    sums, counts = [float(h[mask].sum()) for mask in by_row], [int(mask.sum()) for mask in by_row]
    expected = mean_interval(sums, counts, 0.0, math.log(VOCAB))
    assert (result.entropy, result.entropy_low, result.entropy_high) == pytest.approx(expected)
    expected_counts = torch.histogram(h[masks["entropy_recovered"]], bins=result.edges).hist
    assert result.histogram_recovered.tolist() == expected_counts.long().tolist()
    assert result.histogram_unrecovered.sum() == masks["entropy_unrecovered"].sum()
    assert result.edges[-1] == pytest.approx(math.log(VOCAB))


def test_entropy_without_a_chain_is_not_split_by_recovery() -> None:
    d = toy()
    metric = ConditionalEntropy(VOCAB)
    metric.update(d["real"], d["xt"] != d["x0"], d["counted"], RowIds(d["rows"]))
    result = metric.compute()
    assert math.isnan(result.entropy_recovered)
    assert math.isnan(result.entropy_unrecovered)
    assert math.isnan(result.entropy_leave_one_out)
    assert result.entropy > 0
    metric.update_clean(d["real"], d["leak"], d["counted"], d["leak_counted"], RowIds(d["rows"]))
    assert metric.compute().self_token_influence > 0  # no stale cache
