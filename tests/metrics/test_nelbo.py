"""Nelbo, compared with a mean over valid tokens by hand."""

import pytest
import torch

from tests.support.metrics import toy
from uddm_lightning.metrics import Nelbo, RowIds
from uddm_lightning.stats.intervals import mean_interval


def test_nelbo_is_the_mean_over_valid_tokens() -> None:
    d = toy()
    metric = Nelbo()
    metric.update(d["real"], d["counted"], RowIds(d["rows"]))
    result = metric.compute()
    losses = d["real"].double()
    valid = d["counted"] & (d["rows"] >= 0)[:, None]
    assert result.nelbo == pytest.approx(float(losses[valid].mean()))
    by_row = [valid & (d["rows"] == row)[:, None] for row in d["rows"].unique() if row >= 0]
    expected = mean_interval([float(losses[mask].sum()) for mask in by_row], [int(mask.sum()) for mask in by_row])
    assert (result.nelbo, result.nelbo_low, result.nelbo_high) == pytest.approx(expected)
    assert (result.n_rows, result.n_draws) == (len(by_row), int((d["rows"] >= 0).sum()))


def test_evaluations_of_one_draw_at_several_times_are_averaged() -> None:
    metric = Nelbo()
    valid = torch.tensor([[True, True, False]])
    for loss in (1.0, 3.0):
        metric.update(torch.full((1, 3), loss), valid, RowIds(*torch.tensor([[5], [2], [0]])))
    result = metric.compute()
    assert result.n_draws == 1
    assert result.nelbo == 2.0
    assert (list(result.draws["count"]), list(result.draws["loss"])) == ([2], [4.0])
