"""Critical corruption, fixed points and rows of random tokens on oracles, compared with exhaustive search."""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from torch import Tensor
from typing_extensions import override

from tests.support.command_line import table
from tests.support.oracle_worlds import World, batch_of, every_world, markov, memory, task_of
from tests.support.toy_worlds import chain_kernel
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream, key
from uddm_lightning.metrics import critical_time
from uddm_lightning.probes import BasinProbe, Probe, RecoveryProbe
from uddm_lightning.probes.measured_batch import MeasuredBatch, select
from uddm_lightning.results.tables import BASINS
from uddm_lightning.samplers import AncestralSampler, Sampler
from uddm_lightning.training.batch_notes import BatchNotes

STEPS = 12


def records(
    probe: Probe, world: World, batch: TokenBatch, counted_BL: Tensor, sampler: Sampler, size: int = 10**6
) -> list[dict[str, Any]]:
    """Return the records of a probe for a batch in pieces of `size` rows."""
    task = task_of(world, sampler)
    for places in torch.arange(len(batch.rows_B)).split(size):
        kept = torch.zeros(len(batch.rows_B), dtype=torch.bool).index_fill(0, places, True)
        at = MeasuredBatch(task, world.denoiser, select(batch, kept), counted_BL[kept], "test", "ema", BatchNotes())
        probe.measure(at)
    return list(probe.compute_records(cast(Any, task)))


def fates(
    world: World, sampler: Sampler, batch: TokenBatch, counted_BL: Tensor, tolerance: float, t: float, repeats: int
) -> list[tuple[int, int]]:
    """Count for each row the chains from t that left it and those that returned, one by one."""
    found = []
    for x0, counted, own in zip(batch.tokens_BL.tolist(), counted_BL.tolist(), batch.keys_B, strict=True):
        places = [place for place, counts in enumerate(counted) if counts]
        led = returned = 0
        for repeat in range(repeats):
            keys, row = key(Stream.PROBE, repeat, own[None]), torch.tensor([x0])
            xt = world.process.corrupt(row, torch.tensor([t], dtype=torch.float64), keys).xt_BL
            xhat = sampler(world.denoiser, xt, t, keys, None, xt == row)[0].tolist()
            start, end = (sum(ids[place] != x0[place] for place in places) for ids in (xt[0].tolist(), xhat))
            led += start > tolerance * len(places)
            returned += start > tolerance * len(places) >= end
        found.append((led, returned))
    return found


def some_rows(world: World) -> tuple[TokenBatch, Tensor]:
    """Return known and unknown rows; in some of them not all positions count."""
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
def test_every_chain_is_counted_as_in_a_single_run(
    make: Callable[..., World], sampler: AncestralSampler, tolerance: float
) -> None:
    world, repeats = make(4, 4), 4
    batch, counted = some_rows(world)
    half = torch.arange(len(counted)) % 2 == 0
    batch, counted = select(batch, half), counted[half]

    def probe() -> BasinProbe:
        return BasinProbe((0.1, 0.12, 0.4, 1.0), repeats, sampler, tolerance)

    (record,) = records(probe(), world, batch, counted, AncestralSampler(steps=3))
    times = record["_rows"][0]["times"]
    grid = sampler.grid(1.0)
    assert len(times) == 3, "two of them are the same point of the grid"
    assert all(min(abs(t - point) for point in grid) < 1e-9 for t in times)
    expected = [fates(world, sampler, batch, counted, tolerance, t, repeats) for t in times]
    asked = 0
    for number, row in enumerate(record["_rows"]):
        lost = 0
        for place, (led, returned) in enumerate(zip(row["led"], row["returned"], strict=True)):
            if lost < 12:
                assert (led, returned) == expected[place][number]
                lost = lost + led if not returned else 0
                asked += 1
            else:
                assert (led, returned) == (0, 0), "after so many lost chains no more are asked"
        critical = critical_time(times, row["returned"], row["led"])
        assert row["critical_t"] == (None if math.isnan(critical) else critical)
    assert asked > 2 * len(record["_rows"])
    known = [row["critical_t"] for row in record["_rows"] if row["critical_t"] is not None]
    assert len(set(known)) > (2 if make is memory else 0)
    assert record["critical_t"] == pytest.approx(sum(known) / len(known), abs=1e-12)
    assert (record["n_never_returned"], record["n_always_returned"]) == (known.count(0.0), known.count(1.0))
    assert (record["sampler"], record["sampler_steps"]) == (sampler.name, STEPS)
    assert record["critical_t_low"] <= record["critical_t"] < record["critical_t_high"]
    (pieces,) = records(probe(), world, batch, counted, AncestralSampler(steps=3), size=7)
    for piece, whole in zip(pieces.pop("_rows"), record.pop("_rows"), strict=True):
        # equal for any batch size, up to the rounding of the oracle
        assert piece.pop("margin") == pytest.approx(whole.pop("margin"), rel=1e-9)
        assert piece == whole
    assert pieces == record


def test_the_only_row_always_returns_and_an_unknown_row_never_does() -> None:
    world = memory(3, 4, n=1)
    row = world.joint.rows_XL[world.joint.p_X > 0]
    batch = batch_of(torch.cat([row, (row + 1) % 3]))
    (record,) = records(BasinProbe(), world, batch, torch.ones(2, 4).bool(), AncestralSampler(steps=STEPS))
    assert [found["critical_t"] for found in record["_rows"]] == [1.0, 0.0]
    assert (record["n_always_returned"], record["n_never_returned"], record["n_rows"]) == (1, 1, 2)
    assert all(value > 0 for value in record["_rows"][0]["margin"])
    assert all(value < 0 for value in record["_rows"][1]["margin"])


def test_a_row_without_counted_tokens_is_left_out() -> None:
    world = memory(3, 4, n=2)
    batch = batch_of(world.joint.rows_XL[:3])
    counted = torch.tensor([[True] * 4, [False] * 4, [True, False, False, True]])
    (record,) = records(BasinProbe(), world, batch, counted, AncestralSampler(steps=STEPS))
    assert [(row["row_id"], len(row["margin"])) for row in record["_rows"]] == [(0, 4), (2, 2)]
    assert record["n_draws"] == 2


class Nothing(AncestralSampler):
    """A chain that changes nothing."""

    @override
    def __call__(self, denoiser: Any, xt_BL: Tensor, *rest: Any, **options: Any) -> Tensor:
        return xt_BL


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
@pytest.mark.parametrize("mask", [False, True], ids=["uniform", "absorbing"])
def test_a_row_without_noise_has_not_returned(tolerance: float, mask: bool) -> None:
    """A chain that does nothing never returns, and its level is reported with the critical corruption."""
    world, rows = markov(4, 4, mask=mask), 400
    batch, counted = batch_of(world.draw(rows)), torch.ones(rows, 4).bool()
    probe = BasinProbe((0.05, 0.1, 0.2, 0.4, 0.9), 4, Nothing(steps=20), tolerance)
    (record,) = records(probe, world, batch, counted, AncestralSampler(steps=3))
    assert record["critical_t"] == 0.0
    assert {row["critical_t"] for row in record["_rows"]} <= {0.0, None}
    level = record["critical_t_identity"]
    assert {row["critical_t_identity"] for row in record["_rows"]} == {level}
    t_B = torch.full((20000,), level, dtype=torch.float64)
    x0 = world.draw(20000)
    xt = world.process.corrupt(x0, t_B, key(3, torch.arange(20000))).xt_BL
    stays = float(((xt != x0).sum(1) <= tolerance * 4).double().mean())
    assert stays == pytest.approx(0.5, abs=4 * 0.5 / 20000**0.5)
    if not tolerance:
        assert (1 - (1 - float(world.process.level(t_B[0]).alpha)) * (1 if mask else 0.75)) ** 4 == pytest.approx(0.5)


def test_rows_without_corrupted_tokens_have_no_critical_corruption() -> None:
    world = memory(3, 4, n=1)
    row = world.joint.rows_XL[world.joint.p_X > 0].repeat(20, 1)
    probe = BasinProbe((0.001,), repeats=1, sampler=AncestralSampler(steps=1000))
    (record,) = records(probe, world, batch_of(row), torch.ones(20, 4).bool(), AncestralSampler(steps=3))
    assert [found["critical_t"] for found in record["_rows"]] == [None] * 20
    assert math.isnan(record["critical_t"])
    assert (record["n_never_returned"], record["n_always_returned"], record["n_draws"]) == (0, 0, 20)


def test_the_critical_time_has_a_probability_of_returning_of_one_half() -> None:
    times = (0.1, 0.2, 0.4, 1.0)
    assert critical_time(times, (8, 8, 0, 0), (8, 8, 8, 8)) == pytest.approx(0.2 * 2**0.5)
    assert critical_time(times, (8, 4, 4, 0), (8, 8, 8, 8)) == pytest.approx(0.4), "1/2 is not below 1/2"
    assert critical_time(times, (3, 8, 0, 0), (8, 8, 8, 8)) == pytest.approx(0.2 * 2 ** (3 / 11))
    assert critical_time(times, (0, 5, 0, 0), (8, 8, 8, 8)) == 0.0, "5 of 16 near the row"
    assert critical_time(times, (8, 7, 6, 4), (8, 8, 8, 8)) == 1.0
    assert critical_time(times, (3, 0, 0, 0), (8, 8, 8, 8)) == 0.0
    assert critical_time(times, (0, 8, 0, 0), (0, 8, 8, 0)) == pytest.approx(0.2 * 2**0.5), (
        "times without a chain say nothing"
    )
    assert math.isnan(critical_time(times, (0, 0, 0, 0), (0, 0, 0, 0)))


@pytest.mark.parametrize("number", [6, 11, 40])
def test_the_critical_time_does_not_depend_on_the_spacing(number: int) -> None:
    """Simulate rows with the probability of returning 1 / (1 + (t / c)^6), with 8 chains from each time."""
    rng = np.random.default_rng(number)
    times = np.geomspace(0.02, 1.0, number)
    for critical in (0.08, 0.3):
        returned = rng.binomial(8, 1 / (1 + (times / critical) ** 6), (2000, number))
        found = np.array([critical_time(times, row, np.full(number, 8)) for row in returned])
        assert found.mean() == pytest.approx(critical, rel=0.06)


def test_corruption_is_nested_along_t() -> None:
    """Chains of one number share their noise, so a corrupted token stays corrupted at larger t."""
    world = markov(4, 4)
    x0, keys = world.draw(200), key(1, torch.arange(200))
    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    path = [world.process.corrupt(x0, t.expand(200), keys).xt_BL for t in times]
    for index, xt in enumerate(path[:-1]):
        changed = xt != x0
        assert torch.equal(path[index + 1][changed], xt[changed])


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^`basin\.tolerance` must be in \[0, 1\), got 1\.0\.$"):
        BasinProbe(tolerance=1.0)
    with pytest.raises(ValueError, match=r"^`basin\.num_rows` must be at least 1, got 0\.$"):
        BasinProbe(num_rows=0)
    with pytest.raises(ValueError, match=r"^`basin\.repeats` must be at least 1, got 0\.$"):
        BasinProbe(repeats=0)


# ------------------------------------------------------------------------------------------- fixed points, random rows


def recovery(world: World, tokens: Tensor, counted: Tensor, t: float = 0.5) -> dict[str, Any]:
    probe = RecoveryProbe(times=[t])
    probe.unigram_V = torch.full((world.joint.V,), 1 / world.joint.V, dtype=torch.float64)
    (record,) = records(probe, world, batch_of(tokens), counted, AncestralSampler(steps=STEPS))
    return record


@every_world
def test_fixed_points_equal_enumeration(make: Callable[..., World]) -> None:
    world = make(3, 4)
    joint = world.joint
    counted = torch.ones_like(joint.rows_XL).bool()
    counted[::2, 1] = False
    found = recovery(world, joint.rows_XL, counted)
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
            assert ours == pytest.approx(theirs, abs=1e-6) or abs(theirs) > 100  # impossible ids have no logarithm


@every_world
def test_recovery_of_random_rows_equals_enumeration(make: Callable[..., World]) -> None:
    """Rows of uniform random tokens are corrupted and restored by a model of another text."""
    world, t, rows = make(3, 3), 0.5, 4000
    joint = world.joint
    random = torch.randint(3, (rows, 3), generator=torch.Generator().manual_seed(2))
    found = recovery(world, random, torch.ones_like(random).bool(), t)
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


@pytest.mark.slow
def test_a_run_measures_random_rows_at_its_end_and_a_second_chain_has_its_own_rows(uddm, config, tmp_path):
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["data"]["num_random_rows"] = 8
    settings["basin"] = {"num_rows": 12}
    settings["trajectory"] = {"num_points": 4}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = tmp_path / "runs" / "one"
    outcome = uddm("fit", "-c", config, "--out", run)
    assert outcome.status == 0, outcome.err
    assert "critical corruption t, mean: train" in outcome.out
    rows = table(run)
    basins = [row for row in rows if row["metric"] == "basin"]
    assert [(row["step"], row["split"], row["n_draws"]) for row in basins] == [
        ("6", "random", "8"),
        ("6", "test", "12"),
        ("6", "train", "12"),
    ]
    on_the_way = [(row["step"], float(row["t"])) for row in rows if row["metric"] == "trajectory"]
    assert on_the_way == [("6", t) for t in sorted(t for _, t in on_the_way)]
    assert (len(on_the_way), on_the_way[-1]) == (4, ("6", 1.0))
    assert {row["split"] for row in rows if row["metric"] == "recovery"} == {"train", "test", "random"}
    assert all(row["fixed_tokens"] and row["fixed_rows"] for row in rows if row["metric"] == "recovery")

    kept = pq.read_table(run / "basins.parquet")
    assert kept.schema == BASINS
    assert kept["split"].to_pylist() == ["random"] * 8 + ["test"] * 12 + ["train"] * 12
    assert all(len(margin) == 16 for margin in kept["margin"].to_pylist())

    measure = ("validate", "-c", run / "config.yaml", "--ckpt_path", "last")
    assert uddm(*measure).status == 0
    assert table(run) == rows, "measured again, the same"
    assert pq.read_table(run / "basins.parquet").equals(kept)

    second = ("--recovery.sampler", "AncestralSampler", "--recovery.sampler.decoding", "argmax")
    alone = (*second, "--recovery.sampler.steps", "10", "--entropy.enabled", "false", "--nelbo.enabled", "false")
    outcome = uddm(*measure, *alone, "--basin.enabled", "false", "--trajectory.enabled", "false")
    assert outcome.status == 0, outcome.err
    both = table(run)
    assert [row for row in both if row["sampler"] != "argmax-posterior"] == rows, "the rows of the first chain stay"
    added = [row for row in both if row["sampler"] == "argmax-posterior"]
    assert {(row["metric"], row["split"]) for row in added} == {("recovery", s) for s in ("train", "test", "random")}

    assert uddm("report", tmp_path / "runs").status == 0
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "Recovery by other chains" in page
    assert "argmax-posterior, 10 steps" in page
    for figure in ("basins", "margins", "trajectories"):
        assert (tmp_path / "runs" / "figures" / f"{figure}.png").exists(), figure
    together = pq.read_table(tmp_path / "runs" / "basins.parquet")
    assert together.column_names[:4] == ["run", "backbone", "train_size", "seed"]
    assert len(together) == 32
