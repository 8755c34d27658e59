"""Units of error: draws of a census, documents with several rows, otherwise rows."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from uddm_lightning.metrics import ConditionalEntropy, Nelbo, RecoveryResult, RowIds, TokenRecovery
from uddm_lightning.stats.intervals import mean_interval, rate_interval

ROWS, DRAWS, LENGTH = 8, 512, 32


def recovered(
    lost: int, population: int | None, documents_B: Tensor | None = None, rows: int = ROWS, length: int = LENGTH
) -> RecoveryResult:
    """Return rows with a tenth of their tokens corrupted; `lost` tokens in all are not restored."""
    rows_B = torch.arange(DRAWS) % rows
    corrupted_BL = torch.rand(DRAWS, length, generator=torch.Generator().manual_seed(1)) < 0.1
    x0_BL = torch.zeros(DRAWS, length, dtype=torch.int64)
    xhat_BL = x0_BL.clone()
    for row, place in corrupted_BL.nonzero()[:lost].tolist():
        xhat_BL[row, place] = 1
    metric = TokenRecovery()
    metric.population = population
    everywhere_BL = torch.ones_like(corrupted_BL)
    chance_BL, ids = torch.zeros(DRAWS, length), RowIds(rows_B, documents_B, torch.arange(DRAWS))
    metric.update(x0_BL, corrupted_BL.long(), xhat_BL, everywhere_BL, ids, chance_BL)
    return metric.compute()


def test_one_more_recovered_token_does_not_make_a_census_less_certain() -> None:
    every, all_but_one = recovered(0, ROWS), recovered(1, ROWS)
    assert every.n_corrupted == all_but_one.n_recovered + 1 > 1500
    assert (every.n_rows, every.n_draws) == (ROWS, DRAWS)
    assert 0.98 < every.recovery_low < every.recovery_high == 1.0
    assert abs(every.recovery_low - all_but_one.recovery_low) < 0.005
    assert all_but_one.recovery_high < 1.0
    # nearly as for independent tokens
    exact = 0.025 ** (1 / every.n_corrupted)
    assert exact - 0.01 < every.recovery_low < exact
    # among more rows the same eight are a sample, and other rows may have any value
    assert recovered(0, ROWS + 1).recovery_low < 0.7


def test_rows_of_a_sample_are_clustered_by_document() -> None:
    rows = DRAWS
    documents_B = torch.arange(DRAWS) // 32
    row, document = recovered(400, None, None, rows), recovered(400, None, documents_B, rows)
    assert row.recovery == document.recovery
    sums = {"corrupted": row.draws["corrupted"], "recovered": row.draws["recovered"]}
    by_document = {name: np.add.reduceat(column, np.arange(0, DRAWS, 32)) for name, column in sums.items()}
    assert document[4:7] == pytest.approx(rate_interval(by_document["recovered"], by_document["corrupted"]))
    assert row[4:7] == pytest.approx(rate_interval(sums["recovered"], sums["corrupted"]))
    assert document.recovery_high - document.recovery_low > 2 * (row.recovery_high - row.recovery_low)
    assert document.n_rows == rows, "rows are still what is counted"
    # a row without another row of its document is a separate unit
    alone = recovered(400, None, torch.full((DRAWS,), -1), rows)
    assert alone[:7] == row[:7]


def test_draws_are_counted_separately() -> None:
    result = recovered(10, ROWS, torch.arange(DRAWS) % 2)
    draws = {name: column.tolist() for name, column in result.draws.items()}
    assert sorted(draws["draw"]) == list(range(DRAWS))
    assert all(row == place % ROWS for row, place in zip(draws["row_id"], draws["draw"], strict=True))
    assert all(document == place % 2 for document, place in zip(draws["document"], draws["draw"], strict=True))
    assert sum(draws["corrupted"]) == result.n_corrupted
    assert sum(draws["recovered"]) == result.n_recovered
    assert sum(draws["clean"]) == result.n_clean
    assert sum(draws["changed"]) == result.n_clean_changed == 0


def test_a_draw_at_several_times_is_one_draw() -> None:
    g = torch.Generator().manual_seed(0)
    loss_TBL = torch.rand(4, 6, 5, generator=g, dtype=torch.float64)
    valid_BL = torch.rand(6, 5, generator=g) < 0.7
    rows_B = torch.tensor([0, 1, 2, 0, 1, 2])
    metric = Nelbo()
    metric.population = 3
    for loss_BL in loss_TBL:
        metric.update(loss_BL, valid_BL, RowIds(rows_B, None, torch.arange(6)))
    result = metric.compute()
    assert (result.n_rows, result.n_draws) == (3, 6)
    sums_B = (loss_TBL.mean(0) * valid_BL).sum(1)
    assert result.draws["draw"].tolist() == [0, 3, 1, 4, 2, 5]
    order = result.draws["draw"]
    assert result.draws["loss"].tolist() == pytest.approx(sums_B[order].tolist())
    assert result.draws["count"].tolist() == valid_BL.sum(1)[order].tolist()
    assert result[2:5] == pytest.approx(mean_interval(sums_B.numpy(), valid_BL.sum(1).numpy()))


def test_the_leak_has_an_interval() -> None:
    metric = ConditionalEntropy(5)
    leak_B = torch.linspace(0, 0.2, 20, dtype=torch.float64)
    counted_BL, rows_B = torch.ones(20, 3, dtype=torch.bool), torch.arange(20)
    metric.update_clean(torch.zeros(20, 3), leak_B, counted_BL, torch.ones(20, dtype=torch.bool), RowIds(rows_B))
    result = metric.compute()
    expected = mean_interval(leak_B.numpy(), np.ones(20), 0.0, 1.0)
    assert (
        result.self_token_influence,
        result.self_token_influence_low,
        result.self_token_influence_high,
    ) == pytest.approx(expected)
    assert not math.isnan(result.self_token_influence_low)


def test_a_row_without_noise_is_no_exact_match() -> None:
    """A chain that does nothing restores no row exactly."""
    tokens_BL, rows_B = torch.arange(12).view(3, 4), torch.arange(3)
    counted_BL, chance_BL = torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 4)
    untouched = TokenRecovery()
    untouched.update(tokens_BL, tokens_BL, tokens_BL, counted_BL, RowIds(rows_B), chance_BL)
    assert untouched.compute().n_exact == 0
    assert math.isnan(untouched.compute().exact_match_rate)
    noisy_BL = tokens_BL.clone()
    noisy_BL[0, 0] = noisy_BL[1, 1] = 99
    restored_BL = noisy_BL.clone()
    restored_BL[0, 0] = 0
    some = TokenRecovery()
    some.update(tokens_BL, noisy_BL, restored_BL, counted_BL, RowIds(rows_B), chance_BL)
    assert (some.compute().n_exact, some.compute().exact_match_rate) == (1, 0.5)


def test_net_errors_are_shares_of_counted_tokens() -> None:
    metric = TokenRecovery()
    x0_BL = torch.zeros(2, 4, dtype=torch.int64)
    xt_BL = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]])
    xhat_BL = torch.tensor([[0, 1, 2, 0], [0, 2, 0, 2]])
    counted_BL = torch.tensor([[True] * 4, [True, True, True, False]])
    metric.update(x0_BL, xt_BL, xhat_BL, counted_BL, RowIds(torch.arange(2)), torch.zeros(2, 4))
    result = metric.compute()
    assert (result.errors_before, result.errors_after) == (2 / 7, 3 / 7)
    assert math.isnan(TokenRecovery().compute().errors_before)
