from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

from tests.support.texts import ListSource, sentences
from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data import BPETokenizer, Corpus, DocumentPacking, Subset, TrainDataset, prepare_corpus
from uddm_lightning.data import train_dataset as stream_module

B = 12
STEPS = 5


def stream(corpus: Corpus, size: int = 50, **options: int) -> TrainDataset:
    subset = Subset(len(corpus.train), size, 3, corpus.hash)
    return TrainDataset(corpus.train, subset, **{"batch_size": B, "seed": 3, **options})


def take(stream: TrainDataset, count: int, workers: int = 0) -> list[TokenBatch]:
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    return list(islice(loader, count))


def by_position(batches: list[TokenBatch]) -> dict[tuple[int, int], tuple[object, ...]]:
    """Return all fields of the rows by step and position."""
    found: dict[tuple[int, int], tuple[object, ...]] = {}
    for batch in batches:
        for b, place in enumerate(batch.places_B.tolist()):
            row = (batch.rows_B[b].item(), batch.keys_B[b].item(), batch.quantiles_B[b].item())
            assert (batch.step, place) not in found
            found[batch.step, place] = (*row, batch.tokens_BL[b].tolist())
    return found


CREWS = [(1, 3, 0), (2, 1, 0), (2, 3, 0)]  # world size, accumulation, workers
LARGE_CREWS = [(1, 2, 2), (2, 2, 2)]  # processes start slowly, so one size is tested


@pytest.mark.parametrize(
    ("size", "crew"),
    [*((size, crew) for size in (1, 5, 50) for crew in CREWS), *((5, crew) for crew in LARGE_CREWS)],
)
def test_contents_do_not_depend_on_ranks_and_workers(corpus: Corpus, size: int, crew: tuple[int, int, int]) -> None:
    world_size, accumulation, workers = crew
    batches = [
        batch
        for rank in range(world_size)
        for batch in take(
            stream(corpus, size, rank=rank, world_size=world_size, accumulation=accumulation),
            STEPS * accumulation,
            workers,
        )
    ]
    assert all(len(batch.rows_B) == B // (world_size * accumulation) for batch in batches)
    assert len({batch.seed for batch in batches}) == len(batches), "dropout differs between micro-batches and ranks"
    assert by_position(batches) == by_position(take(stream(corpus, size), STEPS))


def test_micro_batches_come_in_order(corpus: Corpus) -> None:
    for workers in (0, 2):
        batches = take(stream(corpus, accumulation=2), 8, workers)
        assert [batch.step for batch in batches] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [batch.places_B[0].item() for batch in batches] == [0, 1] * 4


@pytest.mark.parametrize("size", [1, 5, 12, 13, 50])
def test_every_row_once_in_n_draws(corpus: Corpus, size: int) -> None:
    steps = 3 * size
    read = torch.cat([batch.rows_B for batch in take(stream(corpus, size), steps)])
    subset = Subset(len(corpus.train), size, 3, corpus.hash)
    expected = sorted(subset.rows(torch.arange(size)).tolist())
    epochs = read[: len(read) // size * size].view(-1, size).tolist()
    assert all(sorted(epoch) == expected for epoch in epochs)
    if size > 4:
        assert len({tuple(epoch) for epoch in epochs}) > 1, "each pass has an order of its own"


@pytest.mark.parametrize("accumulation", [1, 2])
def test_resuming_gives_the_tail(corpus: Corpus, accumulation: int) -> None:
    whole = take(stream(corpus, accumulation=accumulation), 6 * accumulation)
    tail = take(stream(corpus, accumulation=accumulation, start=4), 2 * accumulation)
    assert by_position(tail) == by_position(whole[4 * accumulation :])
    assert [batch.seed for batch in tail] == [batch.seed for batch in whole[4 * accumulation :]]


def test_row_ids_of_a_step(corpus: Corpus) -> None:
    batches = take(stream(corpus, 7), 4)
    assert torch.equal(stream(corpus, 7).row_ids(3), batches[3].rows_B)


def test_planning_ahead_changes_nothing(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    before = by_position(take(stream(corpus), 10))
    monkeypatch.setattr(stream_module, "ROWS_PER_PLAN", 3 * B)
    assert by_position(take(stream(corpus), 10)) == before
    monkeypatch.setattr(stream_module, "ROWS_PER_PLAN", 1)
    assert by_position(take(stream(corpus), 10)) == before


def test_numbers_follow_their_formulas(corpus: Corpus) -> None:
    batch = take(stream(corpus, accumulation=2, rank=1, world_size=3), 4)[3]
    assert batch.step == 1
    assert batch.places_B.tolist() == [4, 10]
    for place, key, quantile in zip(batch.places_B.tolist(), batch.keys_B, batch.quantiles_B, strict=True):
        assert key == keyed_random.key(3, Stream.TRAINING, 1, place)
        assert quantile == (place + keyed_random.uniform(3, Stream.TIMES, 1, place)) / B
    assert batch.seed == keyed_random.key(3, Stream.DROPOUT, 1, 1, 1)
    assert batch.quantiles_B.dtype == torch.float64
    assert batch.tokens_BL.dtype == batch.rows_B.dtype == batch.keys_B.dtype == torch.int64
    assert isinstance(batch.seed, int)
    assert torch.equal(batch.tokens_BL, corpus.train.tokens(batch.rows_B))
    assert batch.special_BL is None
    assert batch.valid_BL is None


def test_batches_contain_special_positions_and_padding() -> None:
    corpus = prepare_corpus(ListSource(sentences(60)), BPETokenizer(300), DocumentPacking(40), 0.2)
    subset = Subset(len(corpus.train), 1.0, 0, corpus.hash)
    batch = next(iter(TrainDataset(corpus.train, subset, 4, 0)))
    assert batch.valid_BL is not None
    assert batch.special_BL is not None
    assert (batch.tokens_BL[batch.special_BL] <= 3).all()
    assert (batch.tokens_BL[~batch.valid_BL] == 0).all()
    assert (batch.special_BL.sum(1) == 2).all()
