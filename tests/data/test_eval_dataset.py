from collections import Counter

import pytest
import torch

from uddm_lightning.core import keyed_random
from uddm_lightning.core.batch import TokenBatch
from uddm_lightning.core.keyed_random import Stream
from uddm_lightning.data import Corpus, EvalDataset


def measured(corpus: Corpus, rows: list[int], draws: int, **options: int) -> list[TokenBatch]:
    dataset = EvalDataset(corpus.train, torch.tensor(rows), draws, **{"batch_size": 4, "seed": 3, "code": 0, **options})
    batches = [dataset[index] for index in range(len(dataset))]
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    return batches


def counted(batches: list[TokenBatch]) -> list[tuple[object, ...]]:
    fields = ((batch.places_B, batch.rows_B, batch.keys_B, batch.quantiles_B, batch.tokens_BL) for batch in batches)
    draws = [tuple(part.tolist() for part in row) for batch in fields for row in zip(*batch, strict=True)]
    return sorted((draw for draw in draws if draw[1] >= 0), key=lambda draw: draw[0])


@pytest.mark.parametrize("rows", [[7], [4, 9, 2], list(range(60))])
@pytest.mark.parametrize("draws", [1, 10, 23])
def test_each_draw_counts_once_for_any_world_size(corpus: Corpus, rows: list[int], draws: int) -> None:
    expected = counted(measured(corpus, rows, draws))
    assert [draw[0] for draw in expected] == list(range(draws))
    assert [draw[1] for draw in expected] == [rows[j % len(rows)] for j in range(draws)]
    assert len({draw[2] for draw in expected}) == draws, "each draw has noise of its own"
    for world_size in (2, 3, 8):
        for batch_size in (1, 4, 100):
            ranks = [
                measured(corpus, rows, draws, rank=rank, world_size=world_size, batch_size=batch_size)
                for rank in range(world_size)
            ]
            assert counted([batch for batches in ranks for batch in batches]) == expected
            shapes = {tuple(batch.tokens_BL.shape for batch in batches) for batches in ranks}
            assert len(shapes) == 1, "every rank has the same batches"
            assert len(set(next(iter(shapes)))) == 1, "of one shape"


def test_fillers_are_marked(corpus: Corpus) -> None:
    batches = measured(corpus, [5, 6, 7], 5)
    rows = torch.cat([batch.rows_B for batch in batches])
    assert rows.tolist() == [5, 6, 7, 5, 6, -1, -1, -1]
    assert Counter(len(batch.tokens_BL) for batch in batches) == {4: 2}


def test_numbers_follow_their_formulas(corpus: Corpus) -> None:
    batch = measured(corpus, [5, 6, 7], 10, code=1)[1]
    assert batch.places_B.tolist() == [4, 5, 6, 7]
    for j, row, key, quantile in zip(
        batch.places_B.tolist(), batch.rows_B.tolist(), batch.keys_B, batch.quantiles_B, strict=True
    ):
        assert key == keyed_random.key(3, Stream.MEASURING, 1, row, j // 3)
        assert quantile == (j + keyed_random.uniform(key, Stream.TIMES)) / 10
    assert batch.step == 0
    assert isinstance(batch.seed, int)


def test_seeds_and_splits_have_other_noise(corpus: Corpus) -> None:
    keys = [measured(corpus, [5], 1, **options)[0].keys_B.item() for options in ({}, {"seed": 4}, {"code": 1})]
    assert len(set(keys)) == 3


def test_draws_know_their_documents(corpus: Corpus) -> None:
    rows = [5, 6, 7]
    batch = measured(corpus, rows, 10, code=1)[1]
    expected = corpus.train.documents(batch.rows_B)
    assert (batch.documents_B is None) == (expected is None)
    assert expected is None or torch.equal(batch.documents_B, expected)
