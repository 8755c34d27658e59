import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from uddm_lightning.metrics import (
    ClassificationMargin,
    ConditionalEntropy,
    CriticalTime,
    Nelbo,
    TokenRecovery,
    TrajectoryPoint,
)
from uddm_lightning.metrics.functional import PredictionSpread
from uddm_lightning.metrics.rowwise import RowwiseMetric, fold
from uddm_lightning.stats.intervals import mean_interval, rate_interval

ROWS, LENGTH, VOCAB = 23, 11, 5


def toy(seed: int = 0) -> dict[str, Tensor]:
    """Draws of rows, some of them repeated and some of them fillers."""
    g = torch.Generator().manual_seed(seed)
    shape = (ROWS, LENGTH)
    x0 = torch.randint(VOCAB, shape, generator=g)
    xt = torch.where(torch.rand(shape, generator=g) < 0.4, torch.randint(VOCAB, shape, generator=g), x0)
    rows = torch.randint(9, (ROWS,), generator=g)
    rows[::7] = -1
    return {
        "x0": x0,
        "xt": xt,
        "xhat": torch.where(torch.rand(shape, generator=g) < 0.7, x0, xt.flip(0)),
        "counted": torch.rand(shape, generator=g) < 0.8,
        "rows": rows,
        "real": torch.rand(shape, generator=g) * math.log(VOCAB),
        "leak": torch.rand(ROWS, generator=g),
        "places": torch.arange(ROWS),
        "leak_counted": torch.rand(ROWS, generator=g) < 0.8,
    }


def feed(metric: RowwiseMetric, d: dict[str, Tensor]) -> None:
    match metric:
        case TokenRecovery():
            metric.update(d["x0"], d["xt"], d["xhat"], d["counted"], d["rows"], d["real"] / 2)
        case ConditionalEntropy():
            hit, restored = d["xt"] != d["x0"], d["xhat"] == d["x0"]
            metric.update(d["real"], hit, d["counted"], d["rows"], restored)
            metric.update_clean(d["real"] / 3, d["leak"], d["counted"], d["leak_counted"], d["rows"])
        case ClassificationMargin():
            metric.update(d["real"] - 0.5, d["counted"], d["rows"])
        case Nelbo():
            metric.update(d["real"], d["counted"], d["rows"])
        case TrajectoryPoint():
            metric.update(PredictionSpread(*(d["real"] / number for number in range(1, 6))), d["counted"], d["rows"])
        case CriticalTime():
            chains = d["x0"][:, :2]
            metric.update(chains, chains // 2, d["leak"], d["real"], d["counted"], d["rows"], None, d["places"])


MAKERS: list[Callable[[], RowwiseMetric]] = [
    TokenRecovery,
    lambda: ConditionalEntropy(VOCAB, 8),
    ClassificationMargin,
    Nelbo,
    lambda: TrajectoryPoint(VOCAB),
    lambda: CriticalTime(LENGTH, (0.1, 0.5)),
]
NAMES = ["recovery", "entropy", "margin", "nelbo", "trajectory", "basin"]
every_metric = pytest.mark.parametrize("make", MAKERS, ids=NAMES)


def plain(result: Any) -> dict[str, Any]:
    """A result as bits: floats in hexadecimal, so that NaN equals NaN and rounding shows."""
    exact: dict[str, Any] = {}
    for name, value in result._asdict().items():
        if isinstance(value, dict):  # columns of draws
            value = [float(number).hex() for column in value.values() for number in column]
        listed = value.tolist() if isinstance(value, Tensor) else value
        exact[name] = listed if isinstance(listed, list) else float(listed).hex()
    return exact


def computed(make: Callable[[], RowwiseMetric], pieces: list[dict[str, Tensor]]) -> dict[str, Any]:
    metric = make()
    for piece in pieces:
        feed(metric, piece)
    return plain(metric.compute())


def take(d: dict[str, Tensor], places: Tensor) -> dict[str, Tensor]:
    return {name: values[places] for name, values in d.items()}


@every_metric
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_no_bit_depends_on_batches_or_order(make: Callable[[], RowwiseMetric], size: int) -> None:
    d = toy()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(size))
    assert computed(make, [take(d, places) for places in order.split(size)]) == computed(make, [d])


@every_metric
def test_fillers_count_for_nothing(make: Callable[[], RowwiseMetric]) -> None:
    d = toy()
    kept = take(d, d["rows"] >= 0)
    spoilt = dict(d, real=torch.where((d["rows"] < 0)[:, None], torch.nan, d["real"]))
    assert computed(make, [spoilt]) == computed(make, [kept])
    fillers = take(d, d["rows"] < 0)
    assert computed(make, [fillers, kept, fillers]) == computed(make, [d])


@every_metric
def test_what_is_not_counted_may_be_anything(make: Callable[[], RowwiseMetric]) -> None:
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


def test_recovery_agrees_with_counting_by_hand() -> None:
    d = toy()
    tally: dict[int, list[int]] = {}
    draws = clean = unstable = exact = touched = 0
    chance = 0.0
    for b in range(ROWS):
        if (row := int(d["rows"][b])) < 0:
            continue
        draws += 1
        own = tally.setdefault(row, [0, 0])
        places = [i for i in range(LENGTH) if d["counted"][b, i]]
        wrong = corrupted = 0
        for i in places:
            right = bool(d["xhat"][b, i] == d["x0"][b, i])
            wrong += not right
            if d["xt"][b, i] != d["x0"][b, i]:
                own[0] += right
                own[1] += 1
                corrupted += 1
                chance += float(d["real"][b, i] / 2)
            else:
                clean += 1
                unstable += not right
        touched += bool(corrupted)
        exact += bool(corrupted) and not wrong
    successes, trials = zip(*tally.values(), strict=True)
    metric = TokenRecovery()
    feed(metric, d)
    result = metric.compute()
    assert (result.n_rows, result.n_draws) == (len(tally), draws)
    assert (result.n_corrupted, result.n_recovered) == (sum(trials), sum(successes))
    assert (result.n_clean, result.n_clean_changed, result.n_exact) == (clean, unstable, exact)
    assert result.chance == pytest.approx(chance / sum(trials))
    assert result.clean_change_rate == unstable / clean
    assert result.exact_match_rate == exact / touched
    assert (result.recovery, result.recovery_low, result.recovery_high) == pytest.approx(
        rate_interval(successes, trials)
    )
    assert all(type(value) is int for name, value in result._asdict().items() if name.startswith("n_"))


def test_entropy_agrees_with_masks_by_hand() -> None:
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
    for name, mask in (("histogram", "entropy"), ("histogram_recovered", "entropy_recovered")):
        expected_counts = torch.histogram(h[masks[mask]], bins=result.edges).hist
        assert getattr(result, name).tolist() == expected_counts.long().tolist()
    assert result.histogram_unrecovered.sum() == masks["entropy_unrecovered"].sum()
    assert result.edges[-1] == pytest.approx(math.log(VOCAB))


def test_entropy_without_a_chain_knows_nothing_of_recovery() -> None:
    d = toy()
    metric = ConditionalEntropy(VOCAB)
    metric.update(d["real"], d["xt"] != d["x0"], d["counted"], d["rows"])
    result = metric.compute()
    assert math.isnan(result.entropy_recovered)
    assert math.isnan(result.entropy_unrecovered)
    assert math.isnan(result.entropy_leave_one_out)
    assert result.entropy > 0
    metric.update_clean(d["real"], d["leak"], d["counted"], d["leak_counted"], d["rows"])
    assert metric.compute().self_token_influence > 0  # no stale cache


def test_histograms_keep_what_lies_beyond_their_edges() -> None:
    metric = ClassificationMargin(-1.0, 1.0, 4)
    values = torch.tensor([[-torch.inf, -0.2, 0.3, 7.0, 0.0]])
    metric.update(values, torch.ones(1, 5, dtype=torch.bool), torch.tensor([3]))
    result = metric.compute()
    assert result.histogram.tolist() == [1, 1, 2, 1]
    assert result.fixed_tokens == 0.4
    assert result.edges.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_fold_sums_alike_in_any_batch() -> None:
    values = torch.randn(40, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert fold(values).tolist() == [float(fold(row[None])) for row in values] == fold(values.T.contiguous().T).tolist()
    torch.testing.assert_close(fold(values), values.sum(1))
    assert fold(torch.empty(2, 0)).tolist() == [0.0, 0.0]


def test_wrong_arguments_are_named() -> None:
    d, nelbo = toy(), Nelbo()
    with pytest.raises(ValueError, match=r"`rows_B` must be int64 of shape \(B,\), got torch.float32"):
        nelbo.update(d["real"], d["counted"], d["rows"].float())
    with pytest.raises(ValueError, match=r"mask of counted positions must be bool, got torch.int64"):
        nelbo.update(d["real"], d["x0"], d["rows"])
    with pytest.raises(ValueError, match=r"shape \(B, L\) with B = 2 rows, got \(23, 11\)"):
        nelbo.update(d["real"], d["counted"], d["rows"][:2])
    with pytest.raises(ValueError, match=r"`loss_BL` must have shape \(23, 11\), got \(23, 10\)"):
        nelbo.update(d["real"][:, 1:], d["counted"], d["rows"])
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
from test_metrics import MAKERS, computed, feed, plain, take, toy
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
    here = __file__.rpartition("/")[0]
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), here], stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors.decode()


def test_sizes_of_new_metrics_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^`vocab_size` must be at least 2, got 1\.$"):
        TrajectoryPoint(1)
    with pytest.raises(ValueError, match=r"^`length` must be at least 1, got 0\.$"):
        CriticalTime(0, (0.5,))
