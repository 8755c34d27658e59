"""Critical corruption, fixed points and rows of random tokens, on oracles, against trying everything."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from uddm_lightning.batch import TokenBatch
from uddm_lightning.callbacks import BasinProbe, Probe, RecoveryProbe
from uddm_lightning.callbacks.probe import MeasuredBatch, select
from uddm_lightning.noise import key
from uddm_lightning.objectives import NELBO
from uddm_lightning.samplers import AncestralSampler, Sampler

from .test_oracles import World, every_world, markov, memory
from .toys import chain_kernel

STEPS = 12


def task_of(world: World, sampler: Sampler) -> Any:
    return SimpleNamespace(
        process=world.process, sampler=sampler, objective=NELBO(t_min=1e-3), device=torch.device("cpu"), trainer=None
    )


def batch_of(tokens_BL: Tensor) -> TokenBatch:
    numbers = torch.arange(len(tokens_BL))
    return TokenBatch(tokens_BL, numbers, numbers, key(7, numbers), numbers.double(), None, None, 0, 0)


def records(
    probe: Probe, world: World, batch: TokenBatch, counted_BL: Tensor, sampler: Sampler, size: int = 10**6
) -> list[dict[str, Any]]:
    """What a probe concludes from a batch that comes in pieces of `size` rows."""
    task = task_of(world, sampler)
    for places in torch.arange(len(batch.rows_B)).split(size):
        kept = torch.zeros(len(batch.rows_B), dtype=torch.bool).index_fill(0, places, True)
        at = MeasuredBatch(task, world.denoiser, select(batch, kept), counted_BL[kept], "test", "ema", {})
        probe.measure(at)
    return list(probe.conclude(cast(Any, task)))


def returns(world: World, sampler: Sampler, batch: TokenBatch, counted_BL: Tensor, tolerance: float) -> Tensor:
    """Whether each row comes back from each time of the grid, bool (B, K)."""
    found, x0 = [], batch.tokens_BL
    for t in sampler.grid(1.0)[-2::-1]:
        t_B = torch.full((len(x0),), t, dtype=torch.float64)
        xt = world.process.corrupt(x0, t_B, batch.keys_B).xt_BL
        xhat = sampler(world.denoiser, xt, t, batch.keys_B, None, xt == x0)
        column = []
        for ended, meant, counts in zip(xhat.tolist(), x0.tolist(), counted_BL.tolist(), strict=True):
            wrong = [a != b for a, b, counted in zip(ended, meant, counts, strict=True) if counted]
            column.append(sum(wrong) <= tolerance * len(wrong))
        found.append(column)
    return torch.tensor(found).T


def some_rows(world: World) -> tuple[TokenBatch, Tensor]:
    """Rows that are known and rows that are not; in some of them not all positions count."""
    known = world.joint.rows_XL[world.joint.p_X > 0][:4]
    tokens = torch.cat([known.repeat(6, 1), world.joint.rows_XL[::9]])
    counted = torch.ones_like(tokens).bool()
    counted[::3, 0] = False
    return batch_of(tokens), counted


@pytest.mark.parametrize(
    ("sampler", "tolerance"),
    [
        (AncestralSampler(steps=STEPS), 0.0),
        (AncestralSampler(steps=STEPS), 0.34),
        (AncestralSampler(steps=STEPS, clamp=True), 0.0),
    ],
    ids=["exact", "tolerant", "clamped"],
)
@pytest.mark.parametrize("make", [memory, markov], ids=["empirical Bayes", "markov"])
def test_critical_corruption_is_what_trying_every_time_gives(
    make: Callable[..., World], sampler: AncestralSampler, tolerance: float
) -> None:
    world = make(4, 4)
    batch, counted = some_rows(world)
    (record,) = records(BasinProbe(sampler, tolerance), world, batch, counted, AncestralSampler(steps=3))
    tried = returns(world, sampler, batch, counted, tolerance)
    times = [0.0, *sampler.grid(1.0)[-2:0:-1], 1.0]
    assert tried.shape[1] == len(times) - 1
    exact = []
    monotone = 0
    for back, row in zip(tried.tolist(), record["_rows"], strict=True):
        at = times.index(row["critical_t"])
        assert at == 0 or back[at - 1], "it returns from t_c"
        assert at == len(back) or not back[at], "it does not return from the next time"
        monotone += (is_monotone := back == sorted(back, reverse=True))
        if is_monotone:
            assert row["critical_t"] == times[sum(back)], "the largest t from which it returns"
        exact.append(times[at])
    assert monotone > len(exact) / 2
    assert len(set(exact)) > 2
    assert record["critical_t"] == pytest.approx(sum(exact) / len(exact), abs=1e-12)
    assert record["n_never"] == exact.count(0.0)
    assert record["n_always"] == exact.count(1.0)
    assert (record["chain"], record["steps"]) == (sampler.chain, STEPS)
    assert record["critical_t_low"] < record["critical_t"] < record["critical_t_high"]
    (pieces,) = records(BasinProbe(sampler, tolerance), world, batch, counted, AncestralSampler(steps=3), size=7)
    for piece, whole in zip(pieces.pop("_rows"), record.pop("_rows"), strict=True):
        # the same for any batch size; but the oracle itself rounds otherwise in another batch
        assert piece.pop("margin") == pytest.approx(whole.pop("margin"), rel=1e-9)
        assert piece == whole
    assert pieces == record


def test_the_only_row_returns_from_everything_and_a_stranger_from_nothing() -> None:
    world = memory(3, 4, n=1)
    row = world.joint.rows_XL[world.joint.p_X > 0]
    batch = batch_of(torch.cat([row, (row + 1) % 3]))
    (record,) = records(BasinProbe(), world, batch, torch.ones(2, 4).bool(), AncestralSampler(steps=STEPS))
    assert [found["critical_t"] for found in record["_rows"]] == [1.0, 0.0]
    assert (record["n_always"], record["n_never"], record["n_rows"]) == (1, 1, 2)
    assert all(value > 0 for value in record["_rows"][0]["margin"])
    assert all(value < 0 for value in record["_rows"][1]["margin"])


def test_a_row_without_counted_tokens_is_left_out() -> None:
    world = memory(3, 4, n=2)
    batch = batch_of(world.joint.rows_XL[:3])
    counted = torch.tensor([[True] * 4, [False] * 4, [True, False, False, True]])
    (record,) = records(BasinProbe(), world, batch, counted, AncestralSampler(steps=STEPS))
    assert [(row["row_id"], len(row["margin"])) for row in record["_rows"]] == [(0, 4), (2, 2)]
    assert record["n_draws"] == 2


def test_corruption_is_nested_along_t() -> None:
    """What bisection walks on: one path, on which a token that is touched stays so."""
    world = markov(4, 4)
    x0, keys = world.draw(200), key(1, torch.arange(200))
    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    path = [world.process.corrupt(x0, t.expand(200), keys).xt_BL for t in times]
    for index, xt in enumerate(path[:-1]):
        changed = xt != x0
        assert torch.equal(path[index + 1][changed], xt[changed])


def test_a_tolerance_that_lets_everything_pass_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^`basin\.tolerance` must be in \[0, 1\), got 1\.0\.$"):
        BasinProbe(tolerance=1.0)
    with pytest.raises(ValueError, match=r"^`basin\.draws` must be at least 1, got 0\.$"):
        BasinProbe(draws=0)


# ------------------------------------------------------------------------------------------- fixed points, random rows


def recovery(
    world: World, tokens: Tensor, counted: Tensor, monkeypatch: pytest.MonkeyPatch, t: float = 0.5
) -> dict[str, Any]:
    f_V = torch.full((world.joint.V,), 1 / world.joint.V, dtype=torch.float64)
    monkeypatch.setattr("uddm_lightning.callbacks.recovery.data_of", lambda trainer: SimpleNamespace(unigram=f_V))
    (record,) = records(RecoveryProbe(times=[t]), world, batch_of(tokens), counted, AncestralSampler(steps=STEPS))
    return record


@every_world
def test_fixed_points_are_those_of_enumeration(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(3, 4)
    joint = world.joint
    counted = torch.ones_like(joint.rows_XL).bool()
    counted[::2, 1] = False
    found = recovery(world, joint.rows_XL, counted, monkeypatch)
    p_XLV = joint.leave_one_out(float(world.process.level(torch.tensor(1e-3).double()).alpha))
    margins = []
    for row, ids in enumerate(joint.rows_XL.tolist()):
        mine = []
        for place, own in enumerate(ids):
            p = p_XLV[row, place].tolist()
            rival = max(value for v, value in enumerate(p) if v != own)
            if counted[row, place]:
                mine.append(math.log(p[own] or 1e-300) - math.log(rival or 1e-300))
        margins.append(mine)
    fixed = [[value > 1e-9 for value in mine] for mine in margins]
    assert found["fixed_tokens"] == pytest.approx(sum(map(sum, fixed)) / sum(map(len, fixed)))
    assert found["fixed_rows"] == pytest.approx(sum(map(all, fixed)) / len(fixed))
    assert 0 < found["fixed_tokens"] < 1
    (basins,) = records(BasinProbe(), world, batch_of(joint.rows_XL), counted, AncestralSampler(steps=1))
    for row, mine in zip(basins["_rows"], margins, strict=True):
        for ours, theirs in zip(row["margin"], mine, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6) or abs(theirs) > 100  # what is impossible has no logarithm


@every_world
def test_recovery_of_random_rows_is_that_of_enumeration(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of uniform random tokens, corrupted and restored by a model that knows another text."""
    world, t, rows = make(3, 3), 0.5, 4000
    joint = world.joint
    random = torch.randint(3, (rows, 3), generator=torch.Generator().manual_seed(2))
    found = recovery(world, random, torch.ones_like(random).bool(), monkeypatch, t)
    kernel_XX = chain_kernel(
        world.process,
        joint,
        lambda alpha: joint.leave_one_out(alpha).log(),
        AncestralSampler(steps=STEPS).grid(t),
    )
    weight_XX = joint.factors(float(world.process.level(torch.tensor(t).double()).alpha)).prod(-1) / len(joint.rows_XL)
    right = corrupted = 0.0
    for place in range(3):
        column_X = joint.rows_XL[:, place]
        changed_XX = (column_X[:, None] != column_X).double() * weight_XX
        ends_XX = torch.stack([kernel_XX[:, column_X == v].sum(1) for v in range(3)], 1)[:, column_X].T
        corrupted += float(changed_XX.sum())
        right += float((changed_XX * ends_XX).sum())
    error = (found["recovery_high"] - found["recovery_low"]) / (2 * 1.96)
    assert abs(found["recovery"] - right / corrupted) <= 3 * error
