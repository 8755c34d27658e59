"""Operations on a batch under measurement."""

from typing import Any

import torch
from torch import Tensor

from tests.probes.test_base import batch
from tests.support.oracle_worlds import batch_of, markov, task_of
from uddm_lightning.probes import EntropyProbe, TrajectoryProbe
from uddm_lightning.probes.measured_batch import MeasuredBatch, drawn, select
from uddm_lightning.samplers import AncestralSampler
from uddm_lightning.training.batch_notes import BatchNotes


def test_rows_are_selected_from_every_field():
    kept = select(batch(special=torch.zeros(3, 4, dtype=torch.bool)), torch.tensor([True, False, True]))
    assert kept.tokens_BL.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert kept.rows_B.tolist() == [3, -1]
    assert kept.special_BL.shape == (2, 4)
    assert kept.valid_BL is None
    assert (kept.seed, kept.step) == (7, 0)


def test_samples_are_drawn_once_for_all_probes() -> None:
    """The entropy probe measures the same samples and draws again only for more of them."""
    world, calls = markov(3, 4), []

    class Counted(AncestralSampler):
        def __call__(self, *args: Any, **options: Any) -> Tensor:
            calls.append(len(args[1]))
            return super().__call__(*args, **options)

    task, batch = task_of(world, Counted(steps=5)), batch_of(world.draw(6))
    first = select(batch, torch.arange(6) < 4)
    at = MeasuredBatch(task, world.denoiser, first, torch.ones(4, 4).bool(), "samples", "ema", BatchNotes())
    probe = TrajectoryProbe()
    looked_at = drawn(at, probe.observer(at)).tokens_BL
    fewer = at._replace(batch=select(batch, torch.arange(6) < 3))
    assert torch.equal(drawn(fewer, EntropyProbe().observer(fewer)).tokens_BL, looked_at[:3])
    assert calls == [4]
    more = drawn(at._replace(batch=batch)).tokens_BL
    assert torch.equal(more[:4], looked_at)
    assert calls == [4, 6]
