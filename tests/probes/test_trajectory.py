"""The probe of trajectories, compared with dense sums over the visited states, and with enumeration of all states."""

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.support.oracle_worlds import World, batch_of, every_world, markov, memory, task_of, unigram
from tests.support.toy_worlds import chain_kernel
from uddm_lightning.metrics import functional as F
from uddm_lightning.probes import TrajectoryProbe
from uddm_lightning.probes.measured_batch import MeasuredBatch, drawn, select
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.batch_notes import BatchNotes

NAMES = ("entropy", "variance", "variance_norm", "top2_gap", "top_probability")


def dense(p: list[float]) -> dict[str, float]:
    """Return the five statistics of one token, by their definitions."""
    variances = [value * (1 - value) for value in p]
    first, second = sorted(p, reverse=True)[:2]
    return {
        "entropy": -sum(value * math.log(value) for value in p if value > 0),
        "variance": sum(variances),
        "variance_norm": math.sqrt(sum(value**2 for value in variances)),
        "top2_gap": first - second,
        "top_probability": first,
    }


def test_the_spread_of_a_prediction_equals_its_definition() -> None:
    logits = 3 * torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 5
    logits[0, 1:] = -torch.inf
    logits[1, 2:5] = -torch.inf
    logits[2] = 0.0
    spread = F.spread(logits)
    for row, p in enumerate(logits.softmax(1).tolist()):
        for name, value in dense(p).items():
            assert float(getattr(spread, name)[row]) == pytest.approx(value, abs=1e-14), name
    assert [float(values[0]) for values in spread] == [0, 0, 0, 1, 1]
    assert float(spread.variance[2]) == pytest.approx(1 - 1 / 7)
    with pytest.raises(ValueError, match=r"must hold at least 2 ids, got 1"):
        F.spread(logits[:, :1])


def measured(
    world: World, start: Tensor, counted: Tensor, steps: int, points: int, size: int = 10**6
) -> tuple[list[dict[str, Any]], list[BatchNotes]]:
    """Return the records and notes of the trajectory probe."""
    probe, task, batch = TrajectoryProbe(points), task_of(world, AncestralSampler(steps=steps)), batch_of(start)
    notes: list[BatchNotes] = []
    for places in torch.arange(len(start)).split(size):
        kept = torch.zeros(len(start), dtype=torch.bool).index_fill(0, places, True)
        notes.append(BatchNotes())
        at = MeasuredBatch(task, world.denoiser, select(batch, kept), counted[kept], "samples", "ema", notes[-1])
        probe.measure(at._replace(batch=drawn(at, probe.observer(at))))
    return list(probe.compute_records(cast(Any, task))), notes


@pytest.mark.parametrize("world", [markov(3, 4), memory(4, 3), unigram(2, 3)], ids=["markov", "memory", "unigram"])
def test_statistics_equal_those_of_the_visited_states(world: World) -> None:
    rows, L, sampler = 23, world.joint.L, AncestralSampler(steps=11)
    start = torch.randint(world.joint.V, (rows, L), generator=torch.Generator().manual_seed(3))
    counted = torch.rand(rows, L, generator=torch.Generator().manual_seed(4)) < 0.7
    found, (note,) = measured(world, start, counted, 11, points=5)

    visited: dict[float, Tensor] = {}
    keys = batch_of(start).keys_B
    end = sampler(world.denoiser, start, 1.0, keys, observe=lambda t, x, numbers: visited.update({t: x.clone()}))
    assert torch.equal(end, sampler(world.denoiser, start, 1.0, keys)), "to look changes nothing"
    assert torch.equal(note.samples_BL, end)
    assert list(visited) == sampler.grid(1.0)[:-1]

    assert [record["t"] for record in found] == [round(sampler.grid(1.0)[place], 12) for place in (0, 3, 6, 8, 11)]
    for record in found:
        ((t, x),) = [(t, x) for t, x in visited.items() if round(t, 12) == record["t"]]
        sigma = world.process.level(torch.full((rows,), t, dtype=torch.float64)).sigma
        p_BLV = world.oracle(x, sigma).softmax(-1)
        values = [dense(p_BLV[row, place].tolist()) for row, place in counted.nonzero().tolist()]
        for name in NAMES:
            mean = sum(value[name] for value in values) / len(values)
            assert record[name] == pytest.approx(mean, abs=1e-12), name
        assert (record["n_rows"], record["n_draws"], record["t_min"]) == (rows, rows, 1e-3)
        assert record["sampler"] == "ancestral"
    for piece, whole in zip(measured(world, start, counted, 11, points=5, size=7)[0], found, strict=True):
        for name, value in whole.items():  # equal for any batch size, up to the rounding of the oracle
            assert piece[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


@every_world
def test_statistics_equal_enumeration_in_distribution(make: Callable[..., World]) -> None:
    world, rows, steps = make(3, 2), 3000, 8
    joint, V = world.joint, 3
    start = torch.randint(V, (rows, 2), generator=torch.Generator().manual_seed(8))
    found, _ = measured(world, start, torch.ones_like(start).bool(), steps, points=5)
    grid = AncestralSampler(steps=steps).grid(1.0)
    assert len(found) == 5
    for record in found:
        place = min(range(len(grid)), key=lambda number: abs(grid[number] - record["t"]))
        times = grid[: place + 1]
        kernel_XX = chain_kernel(world.process, joint, lambda alpha: joint.leave_one_out(alpha).log(), times)
        law_X = kernel_XX.mean(0)
        p_XLV = joint.leave_one_out(float(world.process.level(torch.tensor(times[-1]).double()).alpha))
        for name in NAMES:
            of_row_X = torch.tensor(
                [sum(dense(p)[name] for p in row) / 2 for row in p_XLV.tolist()], dtype=torch.float64
            )
            mean = float((law_X * of_row_X).sum())
            error = math.sqrt(max(0.0, float((law_X * (of_row_X - mean) ** 2).sum())) / rows)
            assert abs(record[name] - mean) <= 3 * error + 1e-9, (name, record["t"])


def test_a_grid_with_fewer_points_is_recorded_whole() -> None:
    probe = TrajectoryProbe(num_points=50)
    assert probe.times(AncestralSampler(steps=7)) == AncestralSampler(steps=7).grid(1.0)[:-1]
    assert len(TrajectoryProbe().times(AncestralSampler())) == 21
    with pytest.raises(ValueError, match=r"^`trajectory\.num_points` must be at least 2, got 1\.$"):
        TrajectoryProbe(num_points=1)
