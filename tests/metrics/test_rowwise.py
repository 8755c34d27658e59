import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.metrics import ROWS, computed, every_metric, feed, plain, take, toy
from uddm_lightning.metrics import ClassificationMargin, ConditionalEntropy, Nelbo, RowIds
from uddm_lightning.metrics.rowwise import RowwiseMetric, fold


@every_metric
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_batches_and_order_do_not_change_a_bit(make: Callable[[], RowwiseMetric], size: int) -> None:
    d = toy()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(size))
    assert computed(make, [take(d, places) for places in order.split(size)]) == computed(make, [d])


@every_metric
def test_fillers_do_not_count(make: Callable[[], RowwiseMetric]) -> None:
    d = toy()
    kept = take(d, d["rows"] >= 0)
    spoilt = dict(d, real=torch.where((d["rows"] < 0)[:, None], torch.nan, d["real"]))
    assert computed(make, [spoilt]) == computed(make, [kept])
    fillers = take(d, d["rows"] < 0)
    assert computed(make, [fillers, kept, fillers]) == computed(make, [d])


@every_metric
def test_positions_that_do_not_count_have_no_effect(make: Callable[[], RowwiseMetric]) -> None:
    d = toy()
    spoilt = dict(d, real=torch.where(d["counted"], d["real"], torch.nan))
    assert computed(make, [spoilt]) == computed(make, [d])


@every_metric
def test_two_copies_merge_into_one(make: Callable[[], RowwiseMetric]) -> None:
    d = toy()
    left, right = make(), make()
    feed(left, take(d, torch.arange(0, 9)))
    feed(right, take(d, torch.arange(9, ROWS)))
    left.merge_state(right)
    assert plain(left.compute()) == computed(make, [d])


@every_metric
def test_empty_and_reset_metrics_compute_nothing(make: Callable[[], RowwiseMetric]) -> None:
    empty = computed(make, [])
    assert all(value in ("nan", "0x0.0p+0") for value in empty.values() if isinstance(value, str))
    d = toy()
    assert computed(make, [take(d, d["rows"] < 0)]) == empty
    assert computed(make, [take(d, torch.arange(0))]) == empty
    metric = make()
    feed(metric, d)
    metric.compute()
    metric.reset()
    assert plain(metric.compute()) == empty
    feed(metric, d)
    assert plain(metric.compute()) == computed(make, [d])


def test_fold_gives_equal_sums_in_any_batch() -> None:
    values = torch.randn(40, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert fold(values).tolist() == [float(fold(row[None])) for row in values] == fold(values.T.contiguous().T).tolist()
    torch.testing.assert_close(fold(values), values.sum(1))
    assert fold(torch.empty(2, 0)).tolist() == [0.0, 0.0]


def test_wrong_arguments_are_named() -> None:
    d, nelbo = toy(), Nelbo()
    with pytest.raises(ValueError, match=r"`rows_B` must be int64 of shape \(B,\), got torch.float32"):
        nelbo.update(d["real"], d["counted"], RowIds(d["rows"].float()))
    with pytest.raises(ValueError, match=r"mask of counted positions must be bool, got torch.int64"):
        nelbo.update(d["real"], d["x0"], RowIds(d["rows"]))
    with pytest.raises(ValueError, match=r"shape \(B, L\) with B = 2 rows, got \(23, 11\)"):
        nelbo.update(d["real"], d["counted"], RowIds(d["rows"][:2]))
    with pytest.raises(ValueError, match=r"`loss_BL` must have shape \(23, 11\), got \(23, 10\)"):
        nelbo.update(d["real"][:, 1:], d["counted"], RowIds(d["rows"]))
    with pytest.raises(ValueError, match=r"`vocab_size` must be at least 2, got 1"):
        ConditionalEntropy(1)
    with pytest.raises(ValueError, match=r"`bins` must be at least 1, got 0"):
        ConditionalEntropy(3, 0)
    with pytest.raises(ValueError, match=r"`bins` must be at least 1, got 0"):
        ClassificationMargin(bins=0)
    with pytest.raises(ValueError, match=r"`high` must be above `low`, got low = 2 and high = 1"):
        ClassificationMargin(2, 1)


RANK = """
import sys, torch
sys.path.insert(0, sys.argv[3])
from tests.support.metrics import MAKERS, computed, feed, plain, take, toy
rank = int(sys.argv[1])
store = torch.distributed.FileStore(sys.argv[2], 2)
torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
d = toy()
everything = torch.arange(23)
for share in ((everything[:5], everything[5:]), (everything, torch.tensor([0, 7])), (everything, None)):
    for make in MAKERS:
        metric = make()
        if share[rank] is not None:
            feed(metric, take(d, share[rank]))
        expected = make()
        expected.distributed_available_fn = lambda: False
        feed(expected, d)
        for _ in range(2):  # computing leaves the rank's own state as it was
            assert plain(metric.compute()) == plain(expected.compute()), (rank, share)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_agree_even_if_one_has_no_rows(tmp_path: Any) -> None:
    root = str(Path(__file__).parents[2])
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), root], stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors.decode()
